package admission

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestAPauseHoldsTheSubAccountAndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{})
		pauseFor(a, "a", 3*time.Second)
		if p := mustWait(t, a, "b"); p.Paused != 0 {
			t.Errorf("another sub-account was paused %v", p.Paused)
		} else {
			p.Done(answered)
		}
		start := time.Now()
		elapse(time.Second)
		p := mustWait(t, a, "a")
		p.Done(answered)
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("admitted after %v, want 3s", d)
		}
		if p.Paused != 2*time.Second {
			t.Errorf("Paused %v, want 2s: the wait began a second into the pause", p.Paused)
		}
		mustBeEmpty(t, a)
	})
}

func TestTimeBehindALimitOrASlotIsNotPausedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{Concurrency: 1, RatePerSubAccount: 1})
		first := mustWait(t, a, "a")
		got := make(chan Pass)
		go func() { got <- mustWait(t, a, "a") }()
		elapse(500 * time.Millisecond)
		pauseFor(a, "a", 2*time.Second)
		elapse(5 * time.Second)
		first.Done(answered)
		p := <-got
		p.Done(answered)
		if p.Paused != 2*time.Second {
			t.Errorf("Paused %v, want 2s", p.Paused)
		}
		mustBeEmpty(t, a)
	})
}

func TestThePauseThatEndsLastHolds(t *testing.T) {
	for name, c := range map[string]struct {
		pauses []time.Duration
		want   time.Duration
	}{
		"longer after shorter": {[]time.Duration{time.Second, 4 * time.Second}, 4 * time.Second},
		"shorter after longer": {[]time.Duration{4 * time.Second, time.Second}, 4 * time.Second},
		"zero and negative":    {[]time.Duration{0, -time.Hour}, 0},
		"capped":               {[]time.Duration{1000 * time.Hour}, 10 * time.Second},
		"absurd":               {[]time.Duration{1<<63 - 1}, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := New(Config{RetryAfterMax: 10 * time.Second})
				for _, d := range c.pauses {
					pauseFor(a, "a", d)
				}
				start := time.Now()
				p := mustWait(t, a, "a")
				p.Done(answered)
				if d := time.Since(start); d != c.want || p.Paused != c.want {
					t.Errorf("admitted after %v with Paused %v, want %v", d, p.Paused, c.want)
				}
				mustBeEmpty(t, a)
			})
		})
	}
}

func TestAPauseReachesThoseWhoWaitAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{RatePerSubAccount: 1})
		mustWait(t, a, "a").Done(answered)
		start := time.Now()
		got := make(chan Pass)
		go func() { got <- mustWait(t, a, "a") }()
		synctest.Wait()
		pauseFor(a, "a", 2*time.Second)
		elapse(time.Second)
		pauseFor(a, "a", 4*time.Second) // prolonged while they wait
		p := <-got
		p.Done(answered)
		if d := time.Since(start); d != 5*time.Second || p.Paused != 5*time.Second {
			t.Errorf("admitted after %v with Paused %v, want 5s", d, p.Paused)
		}
		mustBeEmpty(t, a)
	})
}

func TestACancelledWaitTellsItsPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{})
		pauseFor(a, "a", time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p, err := a.Wait(ctx, Ticket{SubAccountID: "a"})
		if err == nil || p.Paused != time.Second {
			t.Errorf("Paused %v, error %v", p.Paused, err)
		}
		p.Done(answered)
		mustBeEmpty(t, a)
	})
}

func TestPausesOfSubAccountsWithoutWorkAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{})
		pauseFor(a, "a", time.Second)
		if got := a.Snapshot().SubAccounts; len(got) != 1 || got[0].PausedUntil.IsZero() {
			t.Errorf("snapshot %+v", got)
		}
		mustBeEmpty(t, a)
	})
}

// A 429 that every sub-account gets is about the destination, and holds back also
// those that were not hit yet; one that only some get is about them.
func TestAPauseOfEverySubAccountPausesTheDestination(t *testing.T) {
	for name, c := range map[string]struct {
		healthy bool // a third sub-account has a call under way that is not refused
		want    time.Duration
	}{
		"all are hit": {false, 3 * time.Second},
		"one is not":  {true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := New(Config{})
				x, y := mustWait(t, a, "x"), mustWait(t, a, "y")
				if c.healthy {
					defer mustWait(t, a, "z").Done(answered)
				}
				elapse(time.Second)
				x.Done(Result{Kind: Throttled, RetryAfter: 3 * time.Second})
				y.Done(Result{Kind: Throttled, RetryAfter: 3 * time.Second})
				start := time.Now()
				p := mustWait(t, a, "new")
				p.Done(answered)
				if d := time.Since(start); d != c.want || p.Paused != c.want {
					t.Errorf("admitted after %v with Paused %v, want %v", d, p.Paused, c.want)
				}
			})
		})
	}
}
