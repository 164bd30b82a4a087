package admission

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Fault: the key of a sub-account with a backlog without end is refused for 20 s,
// and another sub-account needs nearly all of the destination's limit. Promise: the
// other has it, as if it were alone: of the first go single probes, half a second
// apart at first and then up to five.
func TestARefusedKeyLeavesTheWholeLimitToTheOthers(t *testing.T) {
	measure := func(t *testing.T, backlog int) (p99 time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{RateTotal: 300})
			w.set(func(sub string) (time.Duration, Result) {
				if sub == "a" {
					return around(40 * time.Millisecond), Result{Kind: BadKey}
				}
				return around(40 * time.Millisecond), answered
			})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			w.backlog(ctx, &wg, "a", backlog)
			elapse(2 * time.Second)
			began := time.Now()
			load, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			p99 = percentile(w.arrivals(load, "b", 270), 99)
			if n := len(w.sent("a", began, time.Now())); n > 20 {
				t.Errorf("%d calls with the refused key in 20 s", n)
			}
			cancel()
			wg.Wait()
		})
		return p99
	}
	alone, beside := measure(t, 0), measure(t, 2000)
	if beside > alone*12/10 {
		t.Errorf("p99 beside a refused key is %v, alone %v", beside, alone)
	}
}
