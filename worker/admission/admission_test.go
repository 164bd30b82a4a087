package admission

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// elapse lets virtual time pass and everybody act on it. Only for the test's
// own goroutine in a synctest bubble.
func elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// answered is the usual end of a call.
var answered = Result{Kind: Answered}

// pauseFor is what a Retry-After does to a sub-account.
func pauseFor(a *Admission, id string, d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	s := a.subAccount(id)
	a.pause(s, d, now)
	a.rest(s, now)
	a.dispatch(now)
}

func mustWait(t *testing.T, a *Admission, sub string) Pass {
	t.Helper()
	p, err := a.Wait(t.Context(), Ticket{SubAccountID: sub})
	if err != nil {
		t.Errorf("Wait(%s): %v", sub, err) // also called outside the test's goroutine
	}
	return p
}

// mustBeEmpty checks that nothing is taken and, once all buckets are full
// again, nothing is remembered.
func mustBeEmpty(t *testing.T, a *Admission) {
	t.Helper()
	elapse(time.Hour)
	snap := a.Snapshot()
	if snap.InFlight != 0 || snap.Waiting != (Waiting{}) || len(snap.SubAccounts) != 0 {
		t.Errorf("left over: %+v", snap)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.subs) != 0 || a.nextLane(true) != nil || a.sleeping.len() != 0 || a.idle.len() != 0 {
		t.Errorf("left over: %d sub-accounts, %d sleeping, %d idle", len(a.subs), a.sleeping.len(), a.idle.len())
	}
	if !a.alarm.at.IsZero() {
		t.Error("alarm still set")
	}
}

func TestCallsBeyondTheConcurrencyWaitForASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Concurrency: 2})
		first := mustWait(t, a, "a")
		mustWait(t, a, "b").Done(answered)
		second := mustWait(t, a, "b")
		third := make(chan Pass)
		go func() { third <- mustWait(t, a, "c") }()
		synctest.Wait()
		if got := a.Waiting(); got != (Waiting{Slot: 1}) {
			t.Fatalf("waiting %+v, want one for a slot", got)
		}
		first.Done(answered)
		(<-third).Done(answered)
		second.Done(answered)
		mustBeEmpty(t, a)
	})
}

func TestDoneCountsOnceForAllCopiesOfAPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Concurrency: 2})
		p := mustWait(t, a, "a")
		other := mustWait(t, a, "a")
		replica := p
		p.Done(answered)
		p.Done(answered)
		replica.Done(answered)
		if got := a.Snapshot().InFlight; got != 1 {
			t.Errorf("in flight %d, want 1", got)
		}
		Pass{}.Done(answered) // of a failed wait: nothing to give back
		other.Done(answered)
		mustBeEmpty(t, a)
	})
}

func TestSlotCapHoldsUnderRealConcurrency(t *testing.T) {
	const slots, workers, calls = 7, 64, 200
	a := New(Config{Concurrency: slots})
	var inFlight, most atomic.Int64
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range calls {
				ctx, cancel := context.WithCancel(t.Context())
				if i%3 == 0 {
					go cancel() // races with the grant
				}
				p, err := a.Wait(ctx, Ticket{SubAccountID: fmt.Sprint(w % 5)})
				if err == nil {
					n := inFlight.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					inFlight.Add(-1)
				}
				p.Done(answered)
				cancel()
			}
		})
	}
	wg.Wait()
	if most.Load() > slots {
		t.Errorf("%d calls at once, cap is %d", most.Load(), slots)
	}
	if len(a.subs) != 0 || a.inFlight != 0 {
		t.Errorf("leaked: %d sub-accounts, %d slots", len(a.subs), a.inFlight)
	}
}

func TestWaitersOfASubAccountGoInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Concurrency: 1, RatePerSubAccount: 100})
		blocker := mustWait(t, a, "a")
		var order []int
		for i := range 50 {
			go func() {
				p := mustWait(t, a, "a")
				order = append(order, i) // one slot: never two at once
				p.Done(answered)
			}()
			synctest.Wait() // it stands in line before the next comes
		}
		blocker.Done(answered)
		elapse(10 * time.Second)
		if len(order) != 50 || !slices.IsSorted(order) {
			t.Errorf("order %v", order)
		}
		mustBeEmpty(t, a)
	})
}

func TestSubAccountsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Concurrency: 1})
		blocker := mustWait(t, a, "x")
		var order []string
		join := func(sub string, n int) {
			for range n {
				go func() {
					p := mustWait(t, a, sub)
					order = append(order, sub)
					p.Done(answered)
				}()
				synctest.Wait()
			}
		}
		join("a", 1000)
		join("b", 3) // came last, behind a thousand
		blocker.Done(answered)
		synctest.Wait()
		if got := slices.Index(order, "b"); got != 1 {
			t.Errorf("the other sub-account's first call was number %d, want 1", got)
		}
		if got := order[:6]; !slices.Equal(got, []string{"a", "b", "a", "b", "a", "b"}) {
			t.Errorf("turns %v", got)
		}
		mustBeEmpty(t, a)
	})
}

func TestASubAccountThatCannotGoBlocksNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Concurrency: 10, OverridesPerSubAccount: map[string]float64{"slow": 0.1}})
		ctx, cancel := context.WithCancel(t.Context())
		pauseFor(a, "paused", time.Minute)
		for range 100 {
			go a.Wait(ctx, Ticket{SubAccountID: "paused"})
			go func() {
				if p, err := a.Wait(ctx, Ticket{SubAccountID: "slow"}); err == nil {
					p.Done(answered)
				}
			}()
		}
		synctest.Wait()
		if got, want := a.Waiting(), (Waiting{Pause: 100, Limit: 99}); got != want {
			t.Errorf("waiting %+v, want %+v", got, want)
		}
		start := time.Now()
		for range 1000 {
			mustWait(t, a, "free").Done(answered)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("calls of a free sub-account took %v", d)
		}
		cancel()
		synctest.Wait()
		mustBeEmpty(t, a)
	})
}

func TestACancelledWaitTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Concurrency: 1, RatePerSubAccount: 1, RateTotal: 1})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.Wait(ctx, Ticket{SubAccountID: "a"}); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v", err)
		}
		start := time.Now()
		mustWait(t, a, "a").Done(answered)
		if d := time.Since(start); d != 0 {
			t.Errorf("a token was gone: waited %v", d)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := a.Wait(ctx, Ticket{SubAccountID: "a"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		mustWait(t, a, "a").Done(answered)
		if d := time.Since(start); d != time.Second {
			t.Errorf("next call after %v, want 1s", d)
		}
		mustBeEmpty(t, a)
	})
}

func TestAGrantAtTheInstantOfCancellationIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Concurrency: 1, RatePerSubAccount: 1, RateTotal: 1})
		holder := mustWait(t, a, "a")
		elapse(time.Minute) // both buckets full
		w, _ := a.enter(Ticket{SubAccountID: "a"})
		if w == nil {
			t.Fatal("admitted beyond the slots")
		}
		holder.Done(answered)
		if w.pass.grant == nil {
			t.Fatal("not admitted with a free slot")
		}
		a.abandon(w) // the context ended before the grant was seen
		start := time.Now()
		mustWait(t, a, "a").Done(answered)
		if d := time.Since(start); d != 0 {
			t.Errorf("the token was lost: waited %v", d)
		}
		mustBeEmpty(t, a)
	})
}

func TestRandomCancellationsLeakNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Concurrency: 5, RatePerSubAccount: 200, RateTotal: 300})
		rng := rand.New(rand.NewPCG(1, 2))
		var wg sync.WaitGroup
		for range 3000 {
			patience := time.Duration(rng.IntN(40)) * 5 * time.Millisecond // on the tokens' own beat
			hold := time.Duration(rng.IntN(30)) * time.Millisecond
			sub := fmt.Sprint(rng.IntN(6))
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				p, err := a.Wait(ctx, Ticket{SubAccountID: sub})
				if err != nil {
					return
				}
				<-time.After(hold)
				p.Done(answered)
			})
			if rng.IntN(4) == 0 {
				elapse(5 * time.Millisecond)
			}
			if rng.IntN(100) == 0 {
				pauseFor(a, sub, 50*time.Millisecond)
			}
		}
		wg.Wait()
		mustBeEmpty(t, a)
	})
}

func TestMemoryIsBoundedByActiveSubAccounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Concurrency: 10, RatePerSubAccount: 1800})
		most := 0
		for i := range 20_000 {
			mustWait(t, a, fmt.Sprintf("sub-%d", i)).Done(answered)
			most = max(most, len(a.subs))
			if i%10 == 0 {
				elapse(time.Millisecond)
			}
		}
		if most > 1000 { // a bucket is full again within 0.6 ms
			t.Errorf("%d sub-accounts remembered", most)
		}
		mustBeEmpty(t, a)
	})
}

func TestWithoutLimitsASubAccountIsForgottenAtOnce(t *testing.T) {
	a := New(Config{})
	for i := range 1000 {
		mustWait(t, a, fmt.Sprint(i)).Done(answered)
	}
	if len(a.subs) != 0 {
		t.Errorf("%d sub-accounts remembered", len(a.subs))
	}
}

func TestSnapshotTellsWhatEachSubAccountDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Concurrency: 2, RatePerSubAccount: 40, RateTotal: 500, OverridesPerSubAccount: map[string]float64{"b": 7}})
		ctx, cancel := context.WithCancel(t.Context())
		p := mustWait(t, a, "b")
		mustWait(t, a, "gone").Done(answered)
		pauseFor(a, "a", time.Minute)
		until := time.Now().Add(time.Minute)
		go a.Wait(ctx, Ticket{SubAccountID: "a"})
		synctest.Wait()
		snap := a.Snapshot()
		want := []SubAccountSnapshot{
			{ID: "a", Waiting: 1, Slots: 2, Door: Door{PausedUntil: until, RateAllowed: 40}},
			{ID: "b", InFlight: 1, Slots: 2, Door: Door{RateUsed: 1, RateAllowed: 7}},
		}
		if !slices.EqualFunc(snap.SubAccounts, want, func(x, y SubAccountSnapshot) bool {
			ok := x.PausedUntil.Equal(y.PausedUntil)
			x.PausedUntil, y.PausedUntil = time.Time{}, time.Time{}
			return ok && x == y
		}) {
			t.Errorf("sub-accounts %+v, want %+v", snap.SubAccounts, want)
		}
		if snap.Concurrency != 2 || snap.InFlight != 1 || snap.Destination.RateAllowed != 500 || snap.Waiting != (Waiting{Pause: 1}) {
			t.Errorf("totals %+v", snap)
		}
		cancel()
		synctest.Wait()
		p.Done(answered)
		mustBeEmpty(t, a)
	})
}

func TestNobodyJumpsTheQueueWhenTheTimerIsLate(t *testing.T) {
	for name, other := range map[string]string{"of the same sub-account": "a", "of another, at the total limit": "b"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := New(Config{RateTotal: 1})
				mustWait(t, a, "a").Done(answered)
				first, _ := a.enter(Ticket{SubAccountID: "a"})
				a.mu.Lock()
				a.alarm.stop() // late for ever
				a.mu.Unlock()
				elapse(time.Second) // there is one token now
				second, _ := a.enter(Ticket{SubAccountID: other})
				if first.pass.grant == nil || second == nil || second.pass.grant != nil {
					t.Fatal("the one who came last went first")
				}
				first.pass.Done(answered)
				<-second.admitted
				second.pass.Done(answered)
				mustBeEmpty(t, a)
			})
		})
	}
}

func TestATokenIsNotSpentWhenTheTotalHasNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{RatePerSubAccount: 0.01, RateTotal: 1})
		mustWait(t, a, "a").Done(answered) // the total's only token
		start := time.Now()
		mustWait(t, a, "b").Done(answered) // tried while the total had none
		if d := time.Since(start); d != time.Second {
			t.Errorf("admitted after %v, want 1s: its own token was gone", d)
		}
		mustBeEmpty(t, a)
	})
}
