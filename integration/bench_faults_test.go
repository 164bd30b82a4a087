package integration

import (
	"fmt"
	"time"

	"smscancel/integration/bench"
	"smscancel/integration/simulator"
)

// faultsContest has the API answer 503 three times to one message of a hundred,
// and 404 to one of twenty. L tries again as the worker does. The rate is that of the
// first 95 of 100: after that the last retries wait, and nothing else does.
func faultsContest(c *contest) {
	const api, half = 20 * time.Millisecond, 2500
	c.concurrency = 100 // or the CPU would be the limit
	c.takes(api)
	n := sized(30_000)
	c.onRequests(10)
	c.preload(n)
	mix, touched := c.mix(max(n, sized(8*half)))
	var drained, served standings
	for range rounds() {
		c.scenario = mix
		drained.l = append(drained.l, c.limit(n, 0))
		drained.w = append(drained.w, c.drain(n))
		drained.b = append(drained.b, c.baselineOf(100))
		waiting := c.requests
		c.touched = touched
		served.w = append(served.w, c.serve(sized(8*half), half))
		c.scenario = simulator.Scenario{}
		served.l = append(served.l, c.serve(sized(8*half), half)) // W, too, but with nothing that goes wrong
		c.requests, c.touched = waiting, nil
	}
	name := fmt.Sprintf("1 %% answered 503 three times, 5 %% 404, API %v, %d requests", api, n)
	early := func(f figures) float64 { return .95 * float64(f.done) / f.latency.P95.Seconds() }
	c.tell(name, drained, fmt.Sprintf("of the first 95 %%: L %.0f/s, W %.0f/s", medianOf(drained.l, early), medianOf(drained.w, early)),
		atLeast("rate / L", .95, drained.ratio(early)))
	c.tell(fmt.Sprintf("the same at %d/s", half), standings{w: served.w}, "without the faults: "+cell(served.l),
		atMost("p99 of the others / without the faults", 1.1, served.ratio(p99)))
}

// mix is what the API answers to n messages, and which of them it treats badly.
func (c *contest) mix(n int) (s simulator.Scenario, touched map[string]bool) {
	touched = map[string]bool{}
	s = simulator.Scenario{Messages: map[string]simulator.MessageRule{}}
	for i := range n {
		id := bench.Target(i, c.subAccounts).ID
		switch {
		case i%100 == 50:
			s.Messages[id] = simulator.MessageRule{Answers: []simulator.Answer{{Status: 503, Repeat: 3}}}
		case i%20 == 7:
			s.Messages[id] = simulator.MessageRule{State: simulator.Unknown}
		default:
			continue
		}
		touched[id] = true
	}
	return s, touched
}
