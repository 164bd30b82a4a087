package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/worker/admission"
)

// keyed is an API that refuses the key of one sub-account for as long as it is bad.
type keyed struct {
	mu    sync.Mutex
	bad   Verdict
	isBad bool
	calls []time.Time // for sub-1
}

var (
	badKey = Verdict{Status: StatusFailed, Hold: true, Err: &Error{Kind: KindUnauthorized, HTTPStatus: 401, Code: ptr(1200), ErrorID: "e-1200"}}
	oldTLS = Verdict{Status: StatusFailed, Hold: true, Err: &Error{Kind: KindUpgradeRequired, HTTPStatus: 426, Code: ptr(1014), ErrorID: "e-1014"}}
	noKey  = Verdict{Status: StatusFailed, Hold: true, NoCall: true, Err: &Error{Kind: KindUnauthorized, Message: "no key"}}
)

func (k *keyed) call(_ context.Context, target Target) Verdict {
	<-time.After(20 * time.Millisecond)
	k.mu.Lock()
	defer k.mu.Unlock()
	if target.SubAccountID != "sub-1" {
		return cancelled(1)
	}
	k.calls = append(k.calls, time.Now())
	if k.isBad {
		return k.bad
	}
	return cancelled(1)
}

// sent is when the calls were made so far.
func (k *keyed) sent() []time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.calls)
}

func (k *keyed) mend() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.isBad = false
}

func newHeld(t *testing.T, bad Verdict, hold time.Duration) (*keyed, *bench) {
	api := &keyed{bad: bad, isBad: true}
	b := newBench(t, api.call)
	b.AuthHold = hold
	b.Admission = admission.New(admission.Config{Concurrency: 10, RatePerSubAccount: 500})
	return api, b
}

// Fault: the API refuses the key of a sub-account with a thousand requests in
// hand, for two minutes. Promise: 10 calls that were in flight and one probe per
// backoff step, at most 5 s apart; another sub-account waits for nothing;
// afterwards every request is cancelled, within seconds.
func TestABadKeyHoldsTheSubAccountUntilItIsMended(t *testing.T) {
	for name, bad := range map[string]Verdict{"401": badKey, "426": oldTLS, "no key": noKey} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, b := newHeld(t, bad, 5*time.Minute)
				b.Retry.MaxElapsed, b.Retry.MaxAttempts = time.Minute, 1 // the hold is charged to nobody
				var done []<-chan *Outcome
				for i := range 1000 {
					done = append(done, b.send(map[string]any{"umid": fmt.Sprint("m", i)}))
				}
				start := time.Now()
				<-time.After(time.Minute)
				before := time.Now()
				if o := b.do(map[string]any{"umid": "x", "subAccountId": "sub-2"}); o.Status != StatusCancelled || time.Since(before) > 30*time.Millisecond {
					t.Errorf("another sub-account: %s after %v", o.Status, time.Since(before))
				}
				<-time.After(time.Minute)
				calls := api.sent()
				probes := len(calls) - 10
				if probes < 24 || probes > 60 {
					t.Errorf("%d probes in two minutes", probes)
				}
				for i := 11; i < len(calls); i++ {
					if gap := calls[i].Sub(calls[i-1]); gap > 5*time.Second+20*time.Millisecond || gap < 250*time.Millisecond {
						t.Errorf("probe %d came %v after the one before", i-10, gap)
					}
				}
				api.mend()
				for _, d := range done {
					if o := <-d; o.Status != StatusCancelled {
						t.Fatalf("%s: %+v", o.Status, o.Error)
					}
				}
				if took := time.Since(start) - 2*time.Minute; took > 12*time.Second {
					t.Errorf("all cancelled only %v after the key was mended", took)
				}
			})
		})
	}
}

// Fault: the key stays bad. Promise: each request waits for exactly --auth-hold,
// those too that came later, and fails with what the API said last.
func TestAfterTheHoldARequestFailsWithTheLastRefusal(t *testing.T) {
	for _, hold := range []time.Duration{0, time.Minute} {
		t.Run(hold.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, b := newHeld(t, badKey, hold)
				var all sync.WaitGroup
				var mu sync.Mutex
				called := 0
				send := func(id string, wait time.Duration) {
					start, done := time.Now(), b.send(map[string]any{"umid": id})
					all.Go(func() {
						o, took := <-done, time.Since(start)
						mu.Lock()
						defer mu.Unlock()
						if o.Status != StatusFailed || o.Error.Kind != KindUnauthorized || *o.Error.Code != 1200 || o.Error.ErrorID != "e-1200" {
							t.Errorf("%s: %s %+v", id, o.Status, o.Error)
						}
						called += o.Attempts
						if o.Attempts == 0 && o.FirstAttemptAt != "" || took > wait+time.Duration(o.Attempts+1)*20*time.Millisecond || took < wait { // its calls are no waiting
							t.Errorf("%s: %d attempts, the first at %q; failed after %v", id, o.Attempts, o.FirstAttemptAt, took)
						}
					})
				}
				for i := range 200 {
					send(fmt.Sprint("m", i), hold)
				}
				for i := range 30 {
					<-time.After(1100 * time.Millisecond)
					send(fmt.Sprint("late", i), hold)
				}
				all.Wait()
				if calls := len(api.sent()); calls != called || calls > 10+10+60 {
					t.Errorf("%d calls, %d attempts reported", calls, called)
				}
			})
		})
	}
}

// Promise: also without a hold the key is probed, by the next request that comes.
func TestWithoutAHoldAMendedKeyIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, b := newHeld(t, badKey, 0)
		for i := range 3 {
			if o := b.do(map[string]any{"umid": fmt.Sprint("m", i)}); o.Status != StatusFailed || len(api.sent()) != 1 {
				t.Errorf("%s after %d calls", o.Status, len(api.sent()))
			}
		}
		api.mend()
		<-time.After(time.Second)
		if o := b.do(map[string]any{"umid": "x"}); o.Status != StatusCancelled {
			t.Errorf("%s: %+v", o.Status, o.Error)
		}
	})
}

func TestARequestExpiresBehindAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, b := newHeld(t, badKey, 5*time.Minute)
		b.send(map[string]any{"umid": "first"})
		<-time.After(time.Second)
		deadline := time.Now().Add(90 * time.Second)
		o := b.do(map[string]any{"umid": "m", "scheduledAt": deadline.UTC().Format(time.RFC3339Nano)})
		if late := time.Since(deadline); o.Status != StatusExpired || late < 0 || late > 30*time.Millisecond {
			t.Errorf("%s, %v after the deadline", o.Status, late)
		}
	})
}
