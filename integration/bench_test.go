package integration

import (
	"fmt"
	"strings"
	"testing"

	"smscancel/integration/bench"
	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// BenchmarkWorker measures the worker (W) beside a limit (L: its own HTTP client
// with as many calls at once against the same simulator, without Kafka) and a
// baseline (B: a plain kafka-go consumer), each a process of its own, in turn, in
// several rounds. `make bench` prints its table. A goal that is missed is
// said there; what fails the benchmark is a wrong outcome.
func BenchmarkWorker(b *testing.B) {
	kafkatest.Require(b)
	for _, part := range []struct {
		name   string
		run    func(*contest)
		limits simulator.Limits
	}{
		{"Rate", rateContest, simulator.Limits{}},
		{"Busy", busyContest, simulator.Limits{}},
		{"Faults", faultsContest, simulator.Limits{}},
		{"Latency", latencyContest, simulator.Limits{}},
		{"Steady", steadyContest, publishedLimits},
		{"Duplicates", duplicatesContest, simulator.Limits{}},
		{"Handover", handoverContest, simulator.Limits{}},
		{"Replay", replayContest, simulator.Limits{}},
	} {
		b.Run(part.name, func(b *testing.B) { part.run(newContest(b, part.limits)) })
	}
}

// rounds is how often everything is measured; medians are shown.
func rounds() int { return number("SMSCANCEL_ROUNDS", 5) }

// sized is how much of something a benchmark does: SMSCANCEL_PERCENT makes a
// benchmark of the benchmark short.
func sized(n int) int {
	return max(n*number("SMSCANCEL_PERCENT", 100)/100, 2*bench.Step) / bench.Step * bench.Step
}

// figures are what is measured of one contender in one round.
type figures struct {
	rate    float64 // requests per second
	cpu     float64 // seconds of CPU, of this process alone
	done    int
	rss     float64 // peak, bytes
	latency bench.Latency
}

func figuresOf(r bench.Report) figures {
	return figures{rate: float64(r.Done) / r.Seconds, cpu: r.CPU, done: r.Done, rss: r.PeakRSS, latency: r.Latency}
}

// each is the CPU of 1,000 requests, in seconds.
func (f figures) each() float64 { return f.cpu / float64(f.done) * 1000 }

// cell shows one contender's medians.
func cell(all []figures) string {
	if len(all) == 0 {
		return ""
	}
	of := func(value func(figures) float64) float64 { return medianOf(all, value) }
	text := fmt.Sprintf("%.0f/s, %.3g s, %.0f MiB", of(func(f figures) float64 { return f.rate }), of(figures.each),
		of(func(f figures) float64 { return f.rss / mib }))
	if all[0].latency == (bench.Latency{}) {
		return text
	}
	return text + fmt.Sprintf(", %s/%s/%s", short(of(p50)), short(of(p99)), short(of(p999)))
}

func p50(f figures) float64  { return f.latency.P50.Seconds() }
func p99(f figures) float64  { return f.latency.P99.Seconds() }
func p999(f figures) float64 { return f.latency.P999.Seconds() }

// short is a time in milliseconds, or in seconds if it is long.
func short(seconds float64) string {
	if seconds < 10 {
		return fmt.Sprintf("%.0f ms", seconds*1000)
	}
	return fmt.Sprintf("%.1f s", seconds)
}

func medianOf[T any](all []T, value func(T) float64) float64 {
	values := make([]float64, len(all))
	for i, f := range all {
		values[i] = value(f)
	}
	return median(values)
}

// standings are what was measured in all rounds: of each contender, by round.
type standings struct{ l, b, w []figures }

// ratio is the median of what a round's W is to its L.
func (s *standings) ratio(value func(figures) float64) float64 {
	ratios := make([]float64, len(s.w))
	for i := range ratios {
		ratios[i] = value(s.w[i]) / value(s.l[i])
	}
	return median(ratios)
}

func rate(f figures) float64 { return f.rate }

// goal is what is asked of a workload, and what it showed.
type goal struct {
	text     string
	measured string
	met      bool
}

func atLeast(what string, want, measured float64) goal {
	return goal{fmt.Sprintf("%s ≥ %s", what, grouped(want)), grouped(measured), measured >= want}
}

func atMost(what string, want, measured float64) goal {
	return goal{fmt.Sprintf("%s ≤ %s", what, grouped(want)), grouped(measured), measured <= want}
}

// grouped is a number as one reads it: 2,000,000 or 0.953.
func grouped(x float64) string {
	if x < 1000 {
		return fmt.Sprintf("%.3g", x)
	}
	digits := fmt.Sprintf("%.0f", x)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// tell writes a workload's lines of the table: the contenders stand in the first.
func (c *contest) tell(name string, s standings, more string, goals ...goal) {
	c.t.Helper()
	for i, g := range goals {
		verdict := "met"
		if !g.met {
			verdict = "**missed**"
		}
		cells := []string{"", "", "", ""}
		if i == 0 {
			cells = []string{cell(s.l), cell(s.b), cell(s.w), more}
		}
		result(c.t, name, "%s\t%s\t%s\t%s", g.text, g.measured, verdict, strings.Join(cells, "\t"))
	}
}
