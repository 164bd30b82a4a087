package admission

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// attempts has n callers make first attempts, or retries, for as long as ctx
// lasts, and notes when each went out.
func attempts(ctx context.Context, wg *sync.WaitGroup, a *Admission, log *callLog, n int, t Ticket) {
	name := "first"
	if t.Retry {
		name = "retry"
	}
	for range n {
		wg.Go(func() {
			for {
				p, err := a.Wait(ctx, t)
				if err != nil {
					return
				}
				log.add(name)
				<-time.After(10 * time.Millisecond)
				p.Done(answered)
			}
		})
	}
}

// Fault: everything fails, and more retries wait than there are first attempts.
// Promise: in no second do more go out than a tenth of the first attempts, or 10,
// and the first attempts have the rest of the limit.
func TestRetriesAreATenthOfTheFirstAttempts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		firsts          int
		retries, others float64 // per second
	}{
		"with first attempts at the limit": {100, 91, 909},
		"with hardly any":                  {0, 10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := New(Config{RatePerSubAccount: 1000})
				log := callLog{times: map[string][]time.Time{}}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var wg sync.WaitGroup
				attempts(ctx, &wg, a, &log, 100, Ticket{SubAccountID: "a", Retry: true})
				attempts(ctx, &wg, a, &log, c.firsts, Ticket{SubAccountID: "a"})
				wg.Wait()
				retries, firsts := float64(len(log.times["retry"]))/10, float64(len(log.times["first"]))/10
				if most := log.most("retry"); float64(most) > 1.1*c.retries+1 || retries > 1.02*c.retries || retries < 0.97*c.retries {
					t.Errorf("%v retries per second, %d in one, want %v", retries, most, c.retries)
				}
				if firsts < 0.97*c.others {
					t.Errorf("%v first attempts per second, want %v", firsts, c.others)
				}
				mustBeEmpty(t, a)
			})
		})
	}
}

func TestARetryThatWaitsForTheBudgetHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Concurrency: 1, RatePerSubAccount: 100})
		ctx, cancel := context.WithCancel(t.Context())
		for range 50 {
			go func() {
				if p, err := a.Wait(ctx, Ticket{SubAccountID: "a", Retry: true}); err == nil {
					p.Done(answered)
				}
			}()
		}
		synctest.Wait()
		if got := a.Waiting(); got != (Waiting{Budget: 49}) {
			t.Errorf("waiting %+v, want 49 for the budget", got)
		}
		start := time.Now()
		mustWait(t, a, "a").Done(answered) // slot and token are free
		if d := time.Since(start); d != 0 {
			t.Errorf("a first attempt waited %v", d)
		}
		elapse(time.Second)
		if got := a.Waiting().Budget; got < 39 || got > 40 {
			t.Errorf("%d retries wait a second later, want 39 or 40", got)
		}
		cancel()
		synctest.Wait()
		mustBeEmpty(t, a)
	})
}

// A retry whose call was never made has used nothing of the budget up.
func TestARetryThatWasNotSentIsNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{})
		start := time.Now()
		for range 20 {
			p, _ := a.Wait(t.Context(), Ticket{SubAccountID: "a", Retry: true})
			p.Done(Result{Kind: NotSent})
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("it took %v", d)
		}
		mustBeEmpty(t, a)
	})
}
