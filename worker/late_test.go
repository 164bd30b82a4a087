package worker

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/worker/admission"
	"smscancel/worker/policy"
)

// lateAPI is an API whose connections take 8 s to stand, as its client sees it.
type lateAPI struct {
	asked int // calls that waited for a connection
	sent  int
}

var calledOff = Verdict{Retry: true, NoCall: true}

// Cancel implements Caller.
func (a *lateAPI) Cancel(ctx context.Context, c Call) Verdict {
	a.asked++
	select {
	case <-time.After(8 * time.Second):
	case <-c.Wanted.Done():
		return calledOff
	}
	attempt, end := context.WithTimeout(ctx, 2*time.Second)
	defer end()
	if !c.Confirm(attempt) {
		return calledOff
	}
	a.sent++
	return cancelled(1)
}

func newLateBench(t *testing.T) (*lateAPI, *bench) {
	t.Helper()
	api := &lateAPI{}
	b := newHeldBench(t, nil)
	b.Caller, b.Admission = api, admission.New(admission.Config{RetryAfterMax: time.Minute})
	return api, b
}

// Fault: while a call waits for its connection something happens that forbids it.
// Promise: it does not go out, costs no attempt and holds no slot; what the request
// is told it is told at once.
func TestACallThatMayNotGoAnyMoreDoesNotGoWhenItsConnectionStands(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(b *bench, drain context.CancelFunc)
		kind    Kind // of the outcome; empty: none comes
	}{
		"withdrawn":         {happens: func(b *bench, _ context.CancelFunc) { b.Policy.Set(policy.Rules{Withdrawn: []string{"wrong"}}) }, kind: KindWithdrawn},
		"paused":            {happens: func(b *bench, _ context.CancelFunc) { b.Policy.Set(policy.Rules{Campaigns: []string{"wrong"}}) }},
		"handed back":       {happens: func(_ *bench, drain context.CancelFunc) { drain() }},
		"the ledger is out": {happens: func(b *bench, _ context.CancelFunc) { b.Permit.(*ledgerSwitch).out.Store(true) }},
		"a Retry-After": {happens: func(b *bench, _ context.CancelFunc) {
			pass, _ := b.Admission.Wait(b.work, admission.Ticket{SubAccountID: "sub-1"})
			pass.Done(admission.Result{Kind: admission.Throttled, RetryAfter: time.Hour})
		}},
		"the breaker opens": {happens: func(b *bench, _ context.CancelFunc) {
			var all []admission.Pass
			for range 20 {
				pass, _ := b.Admission.Wait(b.work, admission.Ticket{SubAccountID: "sub-1", Arrival: time.Now()})
				all = append(all, pass)
				<-time.After(time.Millisecond)
			}
			for _, pass := range all {
				pass.Done(admission.Result{Kind: admission.Failed})
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, b := newLateBench(t)
				admit, drain := context.WithCancel(t.Context())
				defer drain()
				b.admit, b.Permit = admit, &ledgerSwitch{}
				done := b.send(ofCampaign("wrong", "m"))
				<-time.After(3 * time.Second)
				c.happens(b, drain)
				synctest.Wait()
				if c.kind != "" {
					mustBeWithdrawn(t, done, 0, false)
				}
				<-time.After(7 * time.Second)
				synctest.Wait()
				if api.sent != 0 {
					t.Errorf("%d calls went out", api.sent)
				}
			})
		})
	}
}

// ledgerSwitch is a permit that is there until the ledger is out.
type ledgerSwitch struct{ out atomic.Bool }

func (l *ledgerSwitch) Holds(int64) bool { return !l.out.Load() }

func (l *ledgerSwitch) Wait(ctx context.Context, _ int64) error {
	if l.out.Load() {
		<-ctx.Done()
	}
	return ctx.Err()
}

// Promise: scheduledAt passes while a connection is waited for: expired, at once.
func TestARequestExpiresAtOnceWhileItWaitsForAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, b := newLateBench(t)
		start := time.Now()
		o := b.do(map[string]any{"umid": "m", "scheduledAt": in(5 * time.Second)})
		if took := time.Since(start); o.Status != StatusExpired || o.Attempts != 0 || took != 5*time.Second || b.Admission.Snapshot().InFlight != 0 {
			t.Errorf("%s after %v and %d attempts", o.Status, took, o.Attempts)
		}
		if <-time.After(time.Minute); api.sent != 0 {
			t.Error("called all the same")
		}
	})
}

// A call that was called off goes out when it may again, and is charged for nothing:
// one attempt is allowed, and it is made.
func TestACallThatWasCalledOffGoesOutLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, b := newLateBench(t)
		b.Retry.MaxAttempts, b.Retry.MaxElapsed = 1, time.Minute
		done := b.send(ofCampaign("wrong", "m"))
		<-time.After(3 * time.Second)
		b.Policy.Set(policy.Rules{PauseAll: true})
		synctest.Wait()
		if n := b.Admission.Snapshot().InFlight; n != 0 || b.Paused() != 1 {
			t.Errorf("%d slots held, %d paused", n, b.Paused())
		}
		<-time.After(time.Hour)
		b.Policy.Set(policy.Rules{})
		if o := <-done; o.Status != StatusCancelled || o.Attempts != 1 || api.asked != 2 || api.sent != 1 {
			t.Errorf("%s after %d attempts, %d asked, %d sent", o.Status, o.Attempts, api.asked, api.sent)
		}
	})
}

// Fault: connections take longer than the ledger is trusted without a proof. Promise:
// the proof is waited for on the connection, and the call goes out.
func TestAConnectionIsNotLostForWantOfAProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, b := newLateBench(t)
		b.Permit = &proven{for_: 6 * time.Second, at: time.Now()}
		if o := b.do(map[string]any{"umid": "m"}); o.Status != StatusCancelled || api.asked != 1 {
			t.Errorf("%s after %d connections", o.Status, api.asked)
		}
	})
}

// proven is a ledger that is trusted for some time after its last proof.
type proven struct {
	for_ time.Duration
	at   time.Time
}

func (p *proven) Holds(int64) bool { return time.Since(p.at) < p.for_ }

func (p *proven) Wait(ctx context.Context, _ int64) error {
	if !p.Holds(0) {
		if err := Sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
		p.at = time.Now()
	}
	return nil
}
