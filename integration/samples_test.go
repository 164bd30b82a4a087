package integration

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// sample is what one process uses at one moment.
type sample struct {
	at         time.Duration // since the beginning of the run
	rss        float64       // bytes
	heap       float64       // bytes that survived the last garbage collection, about
	goroutines float64
	fds        float64 // open file descriptors
	sockets    float64 // those of them that are sockets; 0 where the system does not tell
	entries    float64 // of the dedupe index
}

// sample asks a process what it uses.
func (r *replica) sample() (sample, error) {
	m, err := r.metrics()
	if err != nil {
		return sample{}, err
	}
	return sample{
		rss: m["process_resident_memory_bytes"], heap: m["go_memstats_next_gc_bytes"] / 2, goroutines: m["go_goroutines"],
		fds: m["process_open_fds"], sockets: float64(r.sockets()), entries: m["smscancel_dedupe_entries"],
	}, nil
}

// metrics are all metrics of a process, each the sum of its series.
func (r *replica) metrics() (map[string]float64, error) {
	code, body, err := r.get("/metrics")
	if err != nil || code != 200 {
		return nil, fmt.Errorf("metrics of %s: %d, %v", r.name, code, err)
	}
	sums := map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(body)); lines.Scan(); {
		line := lines.Text()
		space := strings.LastIndexByte(line, ' ') // label values may hold some, too
		name, _, _ := strings.Cut(line[:max(space, 0)], "{")
		if n, err := strconv.ParseFloat(line[space+1:], 64); err == nil {
			sums[name] += n
		}
	}
	return sums, nil
}

func (r *replica) sockets() (n int) {
	open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", r.cmd.Process.Pid))
	for _, fd := range open {
		if target, err := os.Readlink(fd); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}

// sampler samples a process until stop.
type sampler struct {
	mu      sync.Mutex
	samples []sample
	missed  int

	end   chan struct{}
	ended sync.WaitGroup
}

func (r *replica) watch(every time.Duration) *sampler {
	s := &sampler{end: make(chan struct{})}
	begin := time.Now()
	s.ended.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-s.end:
				return
			case <-tick.C:
			}
			got, err := r.sample()
			got.at = time.Since(begin)
			s.mu.Lock()
			if err != nil {
				s.missed++
			} else {
				s.samples = append(s.samples, got)
			}
			s.mu.Unlock()
		}
	})
	return s
}

func (s *sampler) stop() []sample {
	close(s.end)
	s.ended.Wait()
	return s.samples
}

func (s *sampler) last() sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.samples) == 0 {
		return sample{}
	}
	return s.samples[len(s.samples)-1]
}

// quarter gives one quarter of a run's samples, counted from 0.
func quarter(samples []sample, n int) []sample {
	return samples[n*len(samples)/4 : (n+1)*len(samples)/4]
}

// peak is the largest value among samples.
func peak(samples []sample, of func(sample) float64) (most float64) {
	for _, s := range samples {
		most = max(most, of(s))
	}
	return most
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// growth is how something developed after the first quarter of a run, which
// is warm-up.
type growth struct {
	second, last float64 // medians of these quarters
	slope        float64 // per hour, from the second quarter on: the median of the slopes of all pairs
	half         float64 // hours from the middle of the one to the middle of the other
}

func growthOf(samples []sample, of func(sample) float64) growth {
	values := func(samples []sample) (all []float64) {
		for _, s := range samples {
			all = append(all, of(s))
		}
		return all
	}
	late := samples[len(samples)/4:]
	var slopes []float64
	for i, a := range late {
		for _, b := range late[i+1:] {
			slopes = append(slopes, (of(b)-of(a))/(b.at-a.at).Hours())
		}
	}
	return growth{
		second: median(values(quarter(samples, 1))), last: median(values(quarter(samples, 3))), slope: median(slopes),
		half: (late[len(late)-1].at - late[0].at).Hours() * 2 / 3,
	}
}

// leaks tells whether the last quarter, by its median or by the slope towards
// it, exceeds the second by more than a part of it and a slack.
func (g growth) leaks(part, slack float64) bool {
	allowed := g.second*part + slack
	return g.last-g.second > allowed || g.slope*g.half > allowed
}

// measure is one thing that must stay flat.
type measure struct {
	name        string
	unit        float64
	of          func(sample) float64
	part, slack float64 // growth that is allowed from the second quarter to the last
}

const mib = 1 << 20

// measures are what a process may use more and more of. The slack is what the
// weather at either time explains: a fault fills the pool of connections, which
// have two goroutines each. A run shorter than ten minutes is mostly warm-up.
func measures(run time.Duration) []measure {
	slack, connections := 4.0*mib, 40.0
	if run < 10*time.Minute {
		slack, connections = 32*mib, 1024 // --concurrency
	}
	return []measure{
		{"RSS MiB", mib, func(s sample) float64 { return s.rss }, .15, 2 * slack},
		{"heap MiB", mib, func(s sample) float64 { return s.heap }, .10, slack},
		{"goroutines", 1, func(s sample) float64 { return s.goroutines }, .15, 2*connections + 20},
		{"fds", 1, func(s sample) float64 { return s.fds }, .10, connections},
		{"sockets", 1, func(s sample) float64 { return s.sockets }, .10, connections},
	}
}

// Promise: the verdict on an hour sees a leak of 64 bytes a request, and lets
// noise, spikes and a slow warm-up pass.
func TestALeakIsToldFromNoise(t *testing.T) {
	const every = 10 * time.Second
	for name, c := range map[string]struct {
		value func(i int) float64
		leaks bool
	}{
		"flat":                         {func(int) float64 { return 40 * mib }, false},
		"noise":                        {func(i int) float64 { return 40*mib + float64(i*7919%13)*mib }, false},
		"spikes":                       {func(i int) float64 { return 40*mib + float64(max(0, i%50-45))*100*mib }, false},
		"warm-up":                      {func(i int) float64 { return float64(min(i, 80)) * mib / 2 }, false},
		"64 bytes of each of 200/s":    {func(i int) float64 { return 40*mib + float64(i)*10*200*64 }, true},
		"the same within noise":        {func(i int) float64 { return 40*mib + float64(i*7919%13)*mib + float64(i)*10*200*64 }, true},
		"all at once in the last part": {func(i int) float64 { return 40*mib + float64(max(0, i-300))*mib }, true},
	} {
		var samples []sample
		for i := range 360 {
			samples = append(samples, sample{at: time.Duration(i) * every, heap: c.value(i)})
		}
		for _, m := range measures(360 * every) {
			if g := growthOf(samples, m.of); m.name == "heap MiB" && g.leaks(m.part, m.slack) != c.leaks {
				t.Errorf("%s: leaks: %t, from %.1f to %.1f MiB, %.1f MiB/h", name, !c.leaks, g.second/mib, g.last/mib, g.slope/mib)
			}
		}
	}
}
