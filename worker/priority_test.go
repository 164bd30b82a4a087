package worker

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/worker/admission"
)

// The window is full of bulk requests when the urgent ones are read, last of all.
func TestCallsGoOutByLaneThenByDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []string
		b := newBench(t, func(_ context.Context, target Target) Verdict {
			sent = append(sent, target.ID) // one slot: never two at once
			<-time.After(20 * time.Millisecond)
			return cancelled(1)
		})
		b.Admission = admission.New(admission.Config{Concurrency: 1})
		interactive := *b.Partition
		interactive.Lane, b.Lane = 0, 1
		interactive.Open()
		first := b.send(map[string]any{"umid": "first"})
		synctest.Wait() // it has the slot
		in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
		var done []<-chan *Outcome
		for i := range 200 {
			done = append(done, b.send(map[string]any{"umid": fmt.Sprint("bulk", i), "scheduledAt": in(24 * time.Hour)}))
		}
		synctest.Wait()
		done = append(done, b.send(map[string]any{"umid": "plain"})) // counts as due in 10 minutes
		done = append(done, b.send(map[string]any{"umid": "soon", "scheduledAt": in(20 * time.Second)}))
		b.Partition = &interactive
		done = append(done, b.send(map[string]any{"umid": "interactive", "scheduledAt": in(23 * time.Hour)}))
		synctest.Wait()
		for _, d := range append(done, first) {
			if o := <-d; o.Status != StatusCancelled {
				t.Errorf("%+v", o)
			}
		}
		if want := []string{"first", "interactive", "soon", "plain"}; !slices.Equal(sent[:4], want) {
			t.Errorf("sent %q first, want %q", sent[:4], want)
		}
	})
}

// permitStub stalls as a ledger does whose append is overdue.
type permitStub struct {
	lost    func(offset int64) bool
	regains chan struct{}
}

func (p permitStub) Wait(ctx context.Context, offset int64) error {
	for p.lost(offset) {
		select {
		case <-p.regains:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

func (p permitStub) Holds(offset int64) bool { return !p.lost(offset) }

func TestACallThatLostItsPermitKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []string
		b := newBench(t, func(_ context.Context, target Target) Verdict {
			sent = append(sent, target.ID)
			<-time.After(20 * time.Millisecond)
			return cancelled(1)
		})
		b.Admission = admission.New(admission.Config{Concurrency: 1})
		var stalled atomic.Bool
		permit := permitStub{func(offset int64) bool { return stalled.Load() && offset == 1 }, make(chan struct{})}
		b.Permit = permit
		var done []<-chan *Outcome
		send := func(id string) {
			done = append(done, b.send(map[string]any{"umid": id}))
			synctest.Wait()
		}
		send("first")
		send("stalled")
		stalled.Store(true) // found out when the slot is its own
		for _, id := range []string{"a", "b", "c", "d"} {
			send(id)
		}
		<-time.After(30 * time.Millisecond) // a goes meanwhile
		stalled.Store(false)
		close(permit.regains)
		for _, d := range done {
			<-d
		}
		if want := []string{"first", "a", "stalled", "b", "c", "d"}; !slices.Equal(sent, want) {
			t.Errorf("sent %q, want %q", sent, want)
		}
	})
}
