package integration

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// handoverContest has replicas come, leave and be killed under a steady load, and
// asks for how long a partition had no outcome.
func handoverContest(c *contest) {
	const perSecond, window = 1000, 1_000_000 // 100,000 in each partition
	c.takes(5 * time.Millisecond)
	f := &fullWindow{world: c.world, entries: sized(window)}
	f.fill()
	f.commitEnds()
	api := []string{"--api-url", c.http.URL()}
	first := c.start("first", api...)
	c.waitRunning(first)
	load := c.loadOf(perSecond, c.request)
	var events []event
	happens := func(name string, what func()) {
		from := time.Now()
		what()
		pass(2 * time.Second)
		events = append(events, event{name, from, time.Now()})
	}
	for range rounds() {
		pass(time.Second)
		var second *replica
		happens("clean", func() { second = c.start("second", api...); c.waitRunning(first, second) })
		happens("clean", func() { second.stop(); c.waitRunning(first) })
		happens("clean", func() { second = c.start("third", api...); c.waitRunning(first, second) })
		happens("killed", func() { first.kill(); c.waitRunning(second) })
		first = second
	}
	load.end()
	c.waitSettled(first)
	first.stop()
	gaps := c.gaps(events)
	shown := func(name string) string { return fmt.Sprintf("%.3g s at most", slices.Max(gaps[name])) }
	c.tell(fmt.Sprintf("clean handover at %d/s, %d outcomes in each window", perSecond, f.entries/c.parts), standings{}, shown("clean"),
		atMost("s without an outcome", 1, median(gaps["clean"])))
	c.tell("takeover after SIGKILL, session timeout 6 s", standings{}, shown("killed"), atMost("s without an outcome", 7, median(gaps["killed"])))
}

type event struct {
	name     string
	from, to time.Time
}

// gaps are for each event the longest time without an outcome, of any partition,
// that ended in it.
func (c *contest) gaps(events []event) map[string][]float64 {
	c.t.Helper()
	at := map[int32][]time.Time{}
	c.scan(c.outcomes, nil, func(r *kgo.Record) { at[r.Partition] = append(at[r.Partition], r.Timestamp) })
	gaps := map[string][]float64{}
	for _, e := range events {
		longest := 0.0
		for _, times := range at {
			for i, t := range times[1:] {
				if t.After(e.from) && t.Before(e.to) {
					longest = max(longest, t.Sub(times[i]).Seconds())
				}
			}
		}
		gaps[e.name] = append(gaps[e.name], longest)
	}
	return gaps
}
