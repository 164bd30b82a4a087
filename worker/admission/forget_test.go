package admission

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Promise: sub-accounts are remembered for as long as it matters, whatever became of
// their calls. 100,000 come and go, and within minutes nothing of them is left.
func TestSubAccountsThatComeAndGoLeaveNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{RatePerSubAccount: 10, RetryAfterMax: time.Minute})
		ends := []Result{answered, {Kind: Failed}, {Kind: BadKey}, {Kind: Upgrade}, {Kind: CutOff}, {Kind: NotSent}, {Kind: Throttled, RetryAfter: time.Hour}}
		most := 0
		for i := range 100_000 {
			id := fmt.Sprint("sub-", i)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			p, err := a.Wait(ctx, Ticket{SubAccountID: id, HoldFor: time.Second})
			if err == nil {
				p.Done(ends[i%len(ends)])
			}
			cancel()
			if i%100 == 99 {
				elapse(100 * time.Millisecond)
			}
			a.mu.Lock()
			most = max(most, len(a.subs))
			a.mu.Unlock()
		}
		if most > 65_000 { // a minute's worth of those that a Retry-After keeps, and a little
			t.Errorf("%d sub-accounts remembered at once", most)
		}
		mustBeEmpty(t, a)
	})
}
