package admission

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Fault: the API is out for ten minutes under full load. Promise: nothing is sent
// but probes, single ones and at most five seconds apart, besides the calls that were
// in flight and those that it takes to notice; ten seconds after it has healed
// the former rate is reached, and the first second sees no more than the limit.
func TestAnOutageSeesOnlyProbesAndEndsWithoutAHerd(t *testing.T) {
	t.Parallel()
	const limit = 500.0
	for name, c := range map[string]struct {
		subs    int
		perSub  float64
		takes   time.Duration // a call that fails
		noticed int           // calls that fail before it is noticed, besides those in flight
	}{
		"one sub-account":                        {subs: 1, perSub: limit, takes: 20 * time.Millisecond, noticed: 10},
		"one sub-account, fails at once":         {subs: 1, perSub: limit, takes: 0, noticed: 10},
		"one sub-account, calls hang":            {subs: 1, perSub: limit, takes: 10 * time.Second, noticed: 10*limit + 100},
		"five sub-accounts":                      {subs: 5, perSub: limit, takes: 20 * time.Millisecond, noticed: 5*10 + 5*6},
		"five sub-accounts, limits of their own": {subs: 5, perSub: limit / 5, takes: 20 * time.Millisecond, noticed: 5*10 + 5*6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var shutAt time.Time
				w := newWorld(t, Config{RatePerSubAccount: c.perSub, RateTotal: limit, Concurrency: 10_000, Changed: func(ch Change) {
					if ch.Reason != "" && shutAt.IsZero() || c.subs > 1 && ch.Reason != "" && ch.SubAccountID == "" {
						shutAt = time.Now()
					}
				}})
				w.set(takes(20 * time.Millisecond))
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for i := range c.subs {
					w.backlog(ctx, &wg, fmt.Sprint(i), 7_500/c.subs)
				}
				elapse(3 * time.Second)
				out := time.Now()
				former := w.rate("", out.Add(-time.Second), out)
				inFlight := w.underWay("")
				w.set(fails(c.takes))
				elapse(10 * time.Minute)
				healed := time.Now()
				w.set(takes(20 * time.Millisecond))
				elapse(15 * time.Second)
				cancel()
				wg.Wait()

				if shutAt.IsZero() || shutAt.After(healed) {
					t.Fatal("it was not noticed")
				}
				if n := len(w.sent("", out, shutAt)); n > inFlight+c.noticed {
					t.Errorf("%d calls until it was noticed after %v, with %d in flight", n, shutAt.Sub(out), inFlight)
				}
				probes := w.sent("", shutAt.Add(time.Millisecond), healed)
				for i := 1; i < len(probes); i++ {
					if gap := probes[i].Sub(probes[i-1]); gap > 5*time.Second || gap < 250*time.Millisecond {
						t.Errorf("probe %d came %v after the one before", i, gap)
						break
					}
				}
				if len(probes) < 115 {
					t.Errorf("%d probes in ten minutes", len(probes))
				}
				back := w.sent("", healed, healed.Add(time.Minute))
				if len(back) < 2 {
					t.Fatal("nothing goes out after it has healed")
				}
				if most := w.rate("", back[1], back[1].Add(time.Second)); most > limit {
					t.Errorf("%v calls in the first second", most)
				}
				if now := w.rate("", healed.Add(10*time.Second), healed.Add(11*time.Second)); now < 0.95*former {
					t.Errorf("%v calls per second ten seconds after it healed, %v before", now, former)
				}
				t.Logf("noticed after %v and %d calls with %d in flight; %d probes; back at %v/s", shutAt.Sub(out), len(w.sent("", out, shutAt)), inFlight, len(probes), w.rate("", healed.Add(10*time.Second), healed.Add(11*time.Second)))
				if most := w.log.most(""); float64(most) > 1.1*limit {
					t.Errorf("%d calls within a second, limit %v", most, limit)
				}
				mustBeEmpty(t, w.a)
			})
		})
	}
}

// Fault: every call takes six seconds. Promise: that counts as failing, although
// each is answered in the end, and calls go on when they are fast again.
func TestSlowCallsOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []Change
		w := newWorld(t, Config{RatePerSubAccount: 100, Changed: func(c Change) { changes = append(changes, c) }})
		w.set(takes(6 * time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		w.backlog(ctx, &wg, "a", 300)
		elapse(time.Minute)
		if len(changes) != 1 || changes[0].Reason != ReasonBreaker || changes[0].SubAccountID != "a" {
			t.Errorf("changes %+v", changes)
		}
		w.set(takes(20 * time.Millisecond))
		elapse(10 * time.Second)
		if len(changes) != 2 || changes[1].Reason != "" {
			t.Errorf("changes %+v", changes)
		}
		cancel()
		wg.Wait()
		mustBeEmpty(t, w.a)
	})
}

// One call of four fails, and one message always does. Promise: that is no
// reason to stop.
func TestAFewFailuresDoNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{RatePerSubAccount: 200, Changed: func(c Change) { t.Errorf("changed: %+v", c) }})
		n := 0
		w.set(func(sub string) (time.Duration, Result) {
			if n++; n%4 == 0 || sub == "poison" {
				return 20 * time.Millisecond, Result{Kind: Failed}
			}
			return 20 * time.Millisecond, answered
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		w.backlog(ctx, &wg, "a", 50)
		w.backlog(ctx, &wg, "poison", 1)
		elapse(5 * time.Minute)
		cancel()
		wg.Wait()
		mustBeEmpty(t, w.a)
	})
}
