package integration

import (
	"testing"

	"smscancel/integration/bench"
	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// Promise: each contender of the benchmark does all of its work, over HTTP and
// TLS: a call for every request, and where it writes outcomes, one for each.
func TestEveryContenderOfTheBenchmarkDoesItsWork(t *testing.T) {
	kafkatest.Require(t)
	c := newContest(t, simulator.Limits{})
	const n = 3 * bench.Step
	c.onRequests(3)
	c.preload(n)
	for _, c.tls = range []bool{false, true} {
		for name, run := range map[string]func() figures{
			"limit":    func() figures { return c.limit(n, 0) },
			"baseline": func() figures { return c.baseline(n) },
			"worker":   func() figures { return c.drain(n) },
		} {
			f := run()
			if calls := c.sim.Summary().Calls; calls != n || f.done != n || f.rate <= 0 || f.rss < mib {
				t.Errorf("%s (TLS %t): %d calls for %d requests: %+v", name, c.tls, calls, n, f)
			}
		}
	}
	c.tls = false
	l, k := c.limitBeside(n)
	if l.done != n || k.done != n || c.appended() != n || c.sim.Summary().Calls != n {
		t.Errorf("limit did %d beside %d that were read and written of %d; %d calls", l.done, k.done, n, c.sim.Summary().Calls)
	}
	for name, f := range map[string]figures{"burst": c.burst(n), "steady": c.serve(n, 1000)} {
		if f.done != n || f.latency.P50 <= 0 || f.latency.P50 > f.latency.P99 {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// Promise: L makes the calls again that the API answers with 503, and W too.
func TestTheContendersOfTheBenchmarkTryAgain(t *testing.T) {
	kafkatest.Require(t)
	c := newContest(t, simulator.Limits{})
	const n = bench.Step
	c.onRequests(3)
	c.preload(n)
	c.scenario, _ = c.mix(n)
	for name, run := range map[string]func() figures{
		"limit":    func() figures { return c.limit(n, 0) },
		"baseline": func() figures { return c.baseline(n) },
		"worker":   func() figures { return c.drain(n) },
	} {
		f := run()
		if s := c.sim.Summary(); s.Calls != n+3 || s.Statuses[503] != 3 || s.Statuses[404] != 5 || f.done != n {
			t.Errorf("%s: %+v for %d requests: %+v", name, s, n, f)
		}
	}
}
