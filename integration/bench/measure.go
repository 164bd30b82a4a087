package bench

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Latency are quantiles of durations.
type Latency struct{ P50, P95, P99, P999 time.Duration }

// LatencyOf sorts the durations.
func LatencyOf(all []time.Duration) Latency {
	if len(all) == 0 {
		return Latency{}
	}
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))] }
	return Latency{P50: at(.5), P95: at(.95), P99: at(.99), P999: at(.999)}
}

// Usage is what a process has used since it began.
type Usage struct {
	CPU     float64 // seconds, user and system
	PeakRSS float64 // bytes
}

// ticks are the units of /proc/PID/stat in a second, on every Linux there is.
const ticks = 100

// UsageOf asks the system (Linux) about a process.
func UsageOf(pid int) (u Usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the command's name may hold anything
	var user, system float64
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return u, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return u, fmt.Errorf("CPU of process %d: %w", pid, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(peak, &u.PeakRSS); err != nil {
		return u, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	u.CPU, u.PeakRSS = (user+system)/ticks, u.PeakRSS*1024
	return u, nil
}

// stopwatch measures what this process does from its start on.
type stopwatch struct {
	at  time.Time
	cpu float64
}

func start() (stopwatch, error) {
	u, err := UsageOf(os.Getpid())
	return stopwatch{time.Now(), u.CPU}, err
}

func (s stopwatch) stop(r Report) (Report, error) {
	r.Seconds = time.Since(s.at).Seconds()
	u, err := UsageOf(os.Getpid())
	r.CPU, r.PeakRSS = u.CPU-s.cpu, u.PeakRSS
	return r, err
}
