package integration

import (
	"fmt"
	"testing"
	"time"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// BenchmarkLarge is what takes too long for BenchmarkWorker: windows of up to
// SMSCANCEL_ENTRIES outcomes, and a backlog of SMSCANCEL_BACKLOG requests.
func BenchmarkLarge(b *testing.B) {
	kafkatest.Require(b)
	b.Run("Window", func(b *testing.B) {
		entries := number("SMSCANCEL_ENTRIES", 10_000_000)
		all := map[int]replays{}
		for _, n := range []int{entries / 4, entries / 2, entries} {
			b.Run(fmt.Sprint(n), func(b *testing.B) {
				c := newContest(b, simulator.Limits{})
				all[n] = c.replays(n)
				c.tell(fmt.Sprintf("%d outcomes in the window", n), standings{},
					fmt.Sprintf("replay %.1f s, %.0f MiB of live heap, RSS %.0f MiB at most", median(all[n].seconds), median(all[n].heap)/mib, median(all[n].rss)/mib),
					atMost("ms of the longest stop-the-world", 5, median(all[n].pause)*1000))
				if least := all[entries/4]; n == entries && len(least.seconds) > 0 {
					c.tell(fmt.Sprintf("%d outcomes against %d", n, entries/4), standings{}, "",
						atMost("time / 4", 1.2, median(all[n].seconds)/median(least.seconds)/4),
						atMost("live heap / 4", 1.2, median(all[n].heap)/median(least.heap)/4))
				}
			})
		}
	})
	b.Run("Backlog", func(b *testing.B) { backlogContest(newContest(b, publishedLimits)) })
}

// backlogContest has far more requests wait than memory should hold, and a worker
// with the settings that it has by default.
func backlogContest(c *contest) {
	n := number("SMSCANCEL_BACKLOG", 5_000_000)
	c.takes(50 * time.Millisecond)
	c.onRequests(10)
	c.preload(n)
	var rss []float64
	var calls int64
	for range rounds() {
		c.turn()
		r := c.start("worker", "--rate-limit", "1800", "--rate-limit-total", "3000", "--session-timeout", "10s")
		c.waitRunning(r)
		pass(20 * time.Second)
		rss = append(rss, r.peakMemory())
		calls = c.sim.Summary().Calls
		r.stop()
	}
	c.tell(fmt.Sprintf("%d requests wait, default settings, API 50 ms", n), standings{}, fmt.Sprintf("after 20 s and %d calls", calls),
		atMost("MB of RSS at most", 256, median(rss)/1e6))
}
