package integration

import (
	"fmt"
	"time"
)

// rateContest has many requests come at once, and nothing go wrong.
func rateContest(c *contest) {
	c.patientRate(10, .97)
	c.patientRate(1, .95)
}

// busyContest has an API that takes no time: the CPU is the limit. Then the broker,
// which L does not need, has to have its share beside it, too.
func busyContest(c *contest) {
	c.busyRate("HTTP", .80)
	c.tls = true
	c.busyRate("TLS 1.3", .85)
}

// patientRate is limited by the API, which takes 50 ms.
func (c *contest) patientRate(partitions int, want float64) {
	c.t.Helper()
	n := sized(20_000)
	c.takes(50 * time.Millisecond)
	c.onRequests(partitions)
	var s standings
	for range rounds() {
		s.l = append(s.l, c.limit(n, 0))
		s.w = append(s.w, c.burst(n))
		s.b = append(s.b, c.baselineOf(100))
	}
	c.tell(fmt.Sprintf("API 50 ms, %d requests; partitions: %d", n, partitions), s, "", atLeast("rate / L", want, s.ratio(rate)))
}

// baselineOf runs B on as many of the requests as it can do in some seconds, from
// a topic of its own.
func (c *contest) baselineOf(n int) figures {
	c.t.Helper()
	requests := c.requests
	defer func() { c.requests = requests }()
	c.onRequests(c.parts)
	c.preload(n)
	return c.baseline(n)
}

// busyRate is limited by the CPU.
func (c *contest) busyRate(transport string, want float64) {
	c.t.Helper()
	n := sized(100_000)
	c.takes(0)
	c.onRequests(10)
	c.preload(n)
	var s standings
	var bare []figures
	for range rounds() {
		s.w = append(s.w, c.drain(n))
		l, k := c.limitBeside(n)
		s.l, bare = append(s.l, l), append(bare, k)
		s.b = append(s.b, c.baselineOf(400))
	}
	goals := []goal{atLeast("rate / L", want, s.ratio(rate))}
	if !c.tls {
		goals = append(goals, atMost("CPU / L", 1.25, s.ratio(figures.each)))
	}
	c.tell(fmt.Sprintf("API 0 ms, %s, %d requests; partitions: 10", transport, n), s,
		fmt.Sprintf("beside L the bare client used %.3g s of CPU for 1,000", medianOf(bare, figures.each)), goals...)
}
