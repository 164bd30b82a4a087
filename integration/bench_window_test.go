package integration

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// duplicatesContest asks for messages that the window answers for, nine of ten,
// evenly over all of them; the tenth is new and needs a call.
func duplicatesContest(c *contest) {
	c.takes(0)
	c.onRequests(10)
	settled := sized(100_000)
	c.preload(settled)
	c.drain(settled)
	next := settled
	ask := func(n int, isNew func(i int) bool) (duplicates figures) {
		return c.repeats(n, func(i int) int {
			if isNew(i) {
				next++
				return next
			}
			return i * 7919 % settled
		})
	}
	var mixed, pure []figures
	for range rounds() {
		mixed = append(mixed, ask(sized(200_000), func(i int) bool { return i%10 == 9 }))
		pure = append(pure, ask(sized(500_000), func(int) bool { return false }))
	}
	c.tell(fmt.Sprintf("90 %% duplicates of %d outcomes in the window, API 0 ms", settled), standings{w: mixed}, "",
		atLeast("duplicates/s", 150_000, medianOf(mixed, rate)))
	c.tell("the same, nothing but duplicates", standings{w: pure}, "", atLeast("duplicates/s", 150_000, medianOf(pure, rate)))
}

// repeats publishes n requests and starts W on them. Its figures are of the
// outcomes that say duplicate, but for the time and the CPU, which are of all.
func (c *contest) repeats(n int, id func(i int) int) figures {
	c.t.Helper()
	client := c.client(kgo.MaxBufferedRecords(50_000), kgo.ProducerBatchMaxBytes(900_000))
	for i := range n {
		client.Produce(c.t.Context(), c.request(id(i)), c.published)
	}
	if err := client.Flush(c.t.Context()); err != nil {
		c.t.Fatalf("publish: %v", err)
	}
	client.Close()
	from := c.ends(c.outcomes)
	old := c.appended() + c.parts // with the fences' markers
	r := c.worker()
	c.until(old + 1)
	before := c.usage(r)
	c.until(old + n)
	after := c.usage(r)
	r.stop()
	f := figures{cpu: after.CPU - before.CPU, rss: after.PeakRSS}
	var first, last time.Time
	all := 0
	c.scan(c.outcomes, from, func(record *kgo.Record) {
		var o struct{ Status string }
		if err := json.Unmarshal(record.Value, &o); err != nil {
			c.t.Fatal(err)
		}
		all++
		if o.Status == "duplicate" {
			f.done++
		}
		if first.IsZero() || record.Timestamp.Before(first) {
			first = record.Timestamp
		}
		if record.Timestamp.After(last) {
			last = record.Timestamp
		}
	})
	if all != n {
		c.t.Errorf("%d outcomes for %d requests", all, n)
	}
	f.rate = float64(f.done) / last.Sub(first).Seconds()
	return f
}

// replayContest starts workers with millions of outcomes in the window.
func replayContest(c *contest) {
	f := &fullWindow{world: c.world, entries: sized(number("SMSCANCEL_ENTRIES", 5_000_000))}
	f.fill()
	f.commitEnds()
	var perSecond, perEntry, rss []float64
	for round := range rounds() {
		r, took := f.replay(round)
		u, err := r.sample()
		if err != nil {
			c.t.Fatal(err)
		}
		if int(u.entries) != f.entries {
			c.t.Errorf("the index holds %.0f entries of %d", u.entries, f.entries)
		}
		perSecond = append(perSecond, u.entries/took.Seconds())
		perEntry = append(perEntry, u.heap/u.entries)
		rss = append(rss, r.peakMemory()/mib)
		r.stop()
	}
	c.tell(fmt.Sprintf("replay of %d outcomes", f.entries), standings{}, "",
		atLeast("outcomes/s", 2_000_000, median(perSecond)),
		atMost("bytes of live heap an entry", 32, median(perEntry)),
		atMost("MiB of RSS at most", 400, median(rss)))
}
