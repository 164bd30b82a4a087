package worker

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Fault: the API is out for an hour, four times --retry-max-elapsed. Promise: no
// request fails, and the breaker and not their backoff decides when they go on. Each of
// them has been a probe by then, so 10 a second may go: that is the retry budget.
func TestAnOutageFailsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out atomic.Bool
		var calls atomic.Int64
		b := newBench(t, func(context.Context, Target) Verdict {
			calls.Add(1)
			<-time.After(20 * time.Millisecond)
			if out.Load() {
				return err503
			}
			return cancelled(1)
		})
		out.Store(true)
		var done []<-chan *Outcome
		for i := range 500 {
			done = append(done, b.send(map[string]any{"umid": fmt.Sprint("m", i)}))
		}
		<-time.After(time.Hour)
		if n := calls.Load(); n < 720 || n > 100+1200 {
			t.Errorf("%d calls in an hour's outage, 100 of them in flight at first", n)
		}
		out.Store(false)
		healed := time.Now()
		for _, d := range done {
			if o := <-d; o.Status != StatusCancelled {
				t.Fatalf("%s after %d attempts: %+v", o.Status, o.Attempts, o.Error)
			}
		}
		if took := time.Since(healed); took > 5*time.Second+500/10*time.Second {
			t.Errorf("the last was cancelled %v after the API had healed", took)
		}
	})
}
