package dedupe

import (
	"context"
	"testing"
	"testing/synctest"
)

// answered runs Wait in the background and returns a channel with its answer.
func answered(t *testing.T, turn *Turn[string]) <-chan *string {
	t.Helper()
	c := make(chan *string, 1)
	go func() {
		a, err := turn.Wait(t.Context())
		if err == nil {
			c <- a
		}
	}()
	return c
}

func ready[T any](c <-chan T) (T, bool) {
	select {
	case v := <-c:
		return v, true
	default:
		var zero T
		return zero, false
	}
}

func TestRecordsOfOneMessageTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, c := NewHasher(), NewClaims[string]()
		k := Key128(h, "m")
		a, b, d := c.Enter(k, false), c.Enter(k, false), c.Enter(k, false)
		other := c.Enter(Key128(h, "n"), false)
		if a.Waits() || other.Waits() || !b.Waits() {
			t.Fatal("the first record of a message must not wait, the second must")
		}
		bc, dc := answered(t, b), answered(t, d)
		synctest.Wait()
		if _, ok := ready(bc); ok {
			t.Fatal("second record had its turn while the first held the claim")
		}
		a.Leave(nil)
		synctest.Wait()
		if x, ok := ready(bc); !ok || x != nil {
			t.Fatalf("second record: turn %v, answer %v", ok, x)
		}
		if _, ok := ready(dc); ok {
			t.Fatal("third record had its turn while the second held the claim")
		}
		b.Leave(nil)
		synctest.Wait()
		if _, ok := ready(dc); !ok {
			t.Fatal("a waiting duplicate was never woken")
		}
		d.Leave(nil)
		if c.Enter(k, false).Waits() {
			t.Error("a line that has emptied still makes records wait")
		}
	})
}

func TestAnAnswerReachesThoseWhoWaitUpToTheFirstForcedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := NewClaims[string](), Key128(NewHasher(), "m")
		a, b, forced, d := c.Enter(k, false), c.Enter(k, false), c.Enter(k, true), c.Enter(k, false)
		bc, fc, dc := answered(t, b), answered(t, forced), answered(t, d)
		yes := "answer"
		a.Leave(&yes)
		late := c.Enter(k, false) // after the answer: it was not waiting for it
		lc := answered(t, late)
		for _, step := range []struct {
			turn *Turn[string]
			c    <-chan *string
			want *string
		}{{b, bc, &yes}, {forced, fc, nil}, {d, dc, nil}, {late, lc, nil}} {
			synctest.Wait()
			got, ok := ready(step.c)
			if !ok || got != step.want {
				t.Errorf("turn came: %v, answer %v, want %v", ok, got, step.want)
			}
			step.turn.Leave(nil)
		}
	})
}

func TestGivingUpInLineWakesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := NewClaims[string](), Key128(NewHasher(), "m")
		a, b, d := c.Enter(k, false), c.Enter(k, false), c.Enter(k, false)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { _, err := b.Wait(ctx); b.Leave(nil); gone <- err }()
		dc := answered(t, d)
		cancel()
		if err := <-gone; err == nil {
			t.Fatal("Wait did not end with its context")
		}
		a.Leave(nil)
		a.Leave(nil) // harmless
		synctest.Wait()
		if _, ok := ready(dc); !ok {
			t.Error("the line stopped at a record that had given up")
		}
	})
}
