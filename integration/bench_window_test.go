package integration

import (
	"encoding/json"
	"fmt"
	"strings"
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
	n := sized(5_000_000)
	r := c.replays(n)
	c.tell(fmt.Sprintf("replay of %d outcomes", n), standings{}, "",
		atLeast("outcomes/s", 2_000_000, float64(n)/median(r.seconds)),
		atMost("bytes of live heap an entry", 32, median(r.heap)/float64(n)),
		atMost("MB of RSS at most", 400, median(r.rss)/1e6))
}

// replays are what several restarts took.
type replays struct{ seconds, heap, rss, pause []float64 }

func (c *contest) replays(n int) (all replays) {
	c.t.Helper()
	f := &fullWindow{world: c.world, entries: n}
	f.fill()
	f.commitEnds()
	for round := range rounds() {
		r, took := f.replay(round)
		u, err := r.sample()
		if err != nil {
			c.t.Fatal(err)
		}
		if int(u.entries) != n {
			c.t.Errorf("the index holds %.0f entries of %d", u.entries, n)
		}
		all.seconds = append(all.seconds, took.Seconds())
		all.heap = append(all.heap, u.heap)
		all.rss = append(all.rss, r.peakMemory())
		all.pause = append(all.pause, r.longestPause())
		r.stop()
	}
	return all
}

// longestPause is for how many seconds a garbage collection has stopped the world
// at most.
func (r *replica) longestPause() (seconds float64) {
	r.t.Helper()
	_, body, err := r.get("/metrics")
	_, after, found := strings.Cut(body, `go_gc_duration_seconds{quantile="1"} `)
	if _, parsed := fmt.Sscan(after, &seconds); err != nil || !found || parsed != nil {
		r.t.Fatalf("no pauses in the metrics: %v, %v", err, parsed)
	}
	return seconds
}
