package admission

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Fault: no connection stands for five seconds, then all do at once. Promise: at
// the moment of sending no second exceeds 1.1 times the limit, neither of the
// sub-account nor in all, and every call goes out in the end.
func TestCallsHeldUpOnTheirWayKeepToTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSub, total = 100, 150
		a := New(Config{RatePerSubAccount: perSub, RateTotal: total})
		log := callLog{times: map[string][]time.Time{}}
		stands := time.Now().Add(5 * time.Second)
		var wg sync.WaitGroup
		for i := range 3000 {
			sub := []string{"a", "b"}[i%2]
			wg.Go(func() {
				for sent := false; !sent; {
					p := mustWait(t, a, sub)
					<-time.After(time.Until(stands))
					if sent = p.Confirm(t.Context()); !sent {
						p.Done(Result{Kind: NotSent})
						continue
					}
					log.add(sub)
					<-time.After(20 * time.Millisecond)
					p.Done(answered)
				}
			})
		}
		start := time.Now()
		wg.Wait()
		if took := time.Since(start); took > 5*time.Second+25*time.Second {
			t.Errorf("3000 calls at 150 a second took %v", took)
		}
		for sub, limit := range map[string]float64{"": total, "a": perSub, "b": perSub} {
			if most := log.most(sub); float64(most) > 1.1*limit {
				t.Errorf("sub-account %q: %d calls within a second, limit %v", sub, most, limit)
			}
		}
		mustBeEmpty(t, a)
	})
}

// Promise: a call that was admitted before a pause began or a gate was shut, and has
// not gone out, does not go out any more; a probe does.
func TestAPassDoesNotOutlastWhatLetItOut(t *testing.T) {
	refused := Result{Kind: BadKey}
	for name, c := range map[string]struct {
		happens func(a *Admission, other Pass)
		stands  bool
	}{
		"nothing":                  {func(*Admission, Pass) {}, true},
		"a Retry-After":            {func(_ *Admission, other Pass) { other.Done(Result{Kind: Throttled, RetryAfter: time.Minute}) }, false},
		"the key is refused":       {func(_ *Admission, other Pass) { other.Done(refused) }, false},
		"another's key is refused": {func(a *Admission, _ Pass) { mustWait(t, a, "b").Done(refused) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := New(Config{})
				p, other := mustWait(t, a, "a"), mustWait(t, a, "a")
				c.happens(a, other)
				if p.Stands() != c.stands || p.Confirm(t.Context()) != c.stands {
					t.Errorf("stands: %t, want %t", p.Stands(), c.stands)
				}
				p.Done(Result{Kind: NotSent})
				other.Done(answered)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{})
		mustWait(t, a, "a").Done(refused)
		probe, err := a.Wait(t.Context(), Ticket{SubAccountID: "a", HoldFor: time.Minute})
		if err != nil || !probe.Stands() {
			t.Errorf("a probe: %v, stands: %t", err, probe.Stands())
		}
		probe.Done(answered)
		if (Pass{}).Stands() || (Pass{}).Confirm(t.Context()) {
			t.Error("no pass stands")
		}
	})
}

// A wait for another token ends with the attempt, and gives up where it is the
// queue's.
func TestAConfirmationWaitsForASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{RatePerSubAccount: 2})
		var passes []Pass
		for range 6 {
			passes = append(passes, mustWait(t, a, "a"))
		}
		elapse(10 * time.Second) // one token has come by since
		start := time.Now()
		var waited []time.Duration
		for _, p := range passes[:3] {
			if p.Confirm(t.Context()) {
				waited = append(waited, time.Since(start))
			}
		}
		if len(waited) != 3 || waited[0] != 0 || waited[1] != 500*time.Millisecond || waited[2] != time.Second {
			t.Errorf("confirmed after %v", waited)
		}
		over, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if passes[3].Confirm(over) || time.Since(start) != 1100*time.Millisecond {
			t.Errorf("confirmed after the attempt's end, or after %v", time.Since(start))
		}
		var wg sync.WaitGroup
		for _, p := range passes[4:] {
			wg.Go(func() { p.Confirm(t.Context()) })
		}
		wg.Wait()
		if took := time.Since(start); took > 2100*time.Millisecond {
			t.Errorf("the last was told only after %v", took)
		}
		for _, p := range passes {
			p.Done(answered)
		}
		mustBeEmpty(t, a)
	})
}
