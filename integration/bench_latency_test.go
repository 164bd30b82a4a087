package integration

import (
	"fmt"
	"time"

	"smscancel/integration/simulator"
)

// latencyContest asks how much later than the API's answer an outcome stands in
// the topic, at half of the load that W can bear and on a worker that is all but
// idle. B can bear neither.
func latencyContest(c *contest) {
	const api, trickle = 50 * time.Millisecond, 100
	c.takes(api)
	half := int(c.burst(sized(20_000)).rate / 2)
	var busy, idle standings
	for range rounds() {
		busy.l = append(busy.l, c.limit(sized(10*half), half))
		busy.w = append(busy.w, c.serve(sized(10*half), half))
		idle.l = append(idle.l, c.limit(sized(10*trickle), trickle))
		idle.w = append(idle.w, c.serve(sized(10*trickle), trickle))
	}
	beyond := func(s standings, value func(figures) float64) float64 {
		return (medianOf(s.w, value) - medianOf(s.l, value)) * 1000
	}
	c.tell(fmt.Sprintf("half load (%d/s), API %v", half, api), busy, "", atMost("ms of p99 beyond L", 10, beyond(busy, p99)))
	c.tell(fmt.Sprintf("a request every 10 ms, API %v", api), idle, "", atMost("ms of p50 beyond L", 3, beyond(idle, p50)))
}

// publishedLimits are those of 8x8, with a little for calls that do not arrive as
// evenly as they were sent.
var publishedLimits = simulator.Limits{PerSubAccount: 1800, Total: 3000, Slack: .1}

// steadyContest is the most that 8x8 takes from one address, with the limits of
// worker and API in force.
func steadyContest(c *contest) {
	const perSecond, seconds = 3000, 10
	c.takes(50 * time.Millisecond)
	c.tls, c.subAccounts = true, 2
	c.flags = []string{"--rate-limit", "1800", "--rate-limit-total", "3000"}
	var s standings
	for range rounds() {
		s.l = append(s.l, c.limit(sized(seconds*perSecond), perSecond))
		s.w = append(s.w, c.serve(sized(seconds*perSecond), perSecond))
	}
	core := func(all []figures) float64 { return 100 * perSecond / 1000 * medianOf(all, figures.each) } // per cent
	c.tell(fmt.Sprintf("%d requests/s, API 50 ms, TLS 1.3, limits on", perSecond), s,
		fmt.Sprintf("of one core: L %.0f %%, W %.0f %%", core(s.l), core(s.w)),
		atMost("% of a core beyond L", 20, core(s.w)-core(s.l)))
}
