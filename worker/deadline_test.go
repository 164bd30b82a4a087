package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/worker/admission"
	"smscancel/worker/policy"
)

func in(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339Nano) }

// Promise: a request expires at the moment of its deadline, whatever it waits
// for: a slot, a token, a permit.
func TestARequestExpiresAtOnceWhereverItWaits(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, b *bench){
		"for a slot": func(t *testing.T, b *bench) {
			b.Admission = admission.New(admission.Config{Concurrency: 1})
			b.send(map[string]any{"umid": "first"})
		},
		"for a token": func(t *testing.T, b *bench) {
			b.Admission = admission.New(admission.Config{RatePerSubAccount: 0.001})
			b.send(map[string]any{"umid": "first"})
		},
		"for a permit": func(t *testing.T, b *bench) {
			b.Permit = permitStub{func(int64) bool { return true }, make(chan struct{})}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				over := make(chan struct{})
				b := newBench(t, func(context.Context, Target) Verdict { <-over; return cancelled(1) })
				prepare(t, b)
				synctest.Wait()
				start := time.Now()
				o := b.do(map[string]any{"umid": "m", "scheduledAt": in(42 * time.Second)})
				if took := time.Since(start); o.Status != StatusExpired || o.Attempts != 0 || took != 42*time.Second {
					t.Errorf("%s after %v and %d attempts", o.Status, took, o.Attempts)
				}
				close(over)
			})
		})
	}
}

// Promise: a request that waits for an earlier one of its message is not done
// before it, so that their outcomes stand in their order; then it expires without a
// call.
func TestARequestDoesNotExpireBeforeAnEarlierOneOfItsMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over, calls := make(chan Verdict), 0
		b := newBench(t, func(context.Context, Target) Verdict { calls++; return <-over })
		first := b.send(map[string]any{"umid": "m"})
		synctest.Wait()
		second := b.send(map[string]any{"umid": "m", "scheduledAt": in(time.Second)})
		<-time.After(time.Minute)
		if len(b.ledger.outcomes) != 0 {
			t.Error("the later one is done first")
		}
		over <- Verdict{Status: StatusFailed, Err: &Error{Kind: KindForbidden, HTTPStatus: 403}}
		if x, y := <-first, <-second; x.Status != StatusFailed || y.Status != StatusExpired || calls != 1 {
			t.Errorf("%s, then %s, with %d calls", x.Status, y.Status, calls)
		}
	})
}

// ending is a context that has ended, of which those that are made of it do not
// know yet.
type ending struct{ context.Context }

func (ending) Err() error { return context.Canceled }

// Fault: admission, or the work, ends; a request is handed back, and the next one of
// its message has its turn before it learns of the end. Promise: it is handed back
// too, also when its deadline has passed, and has no outcome before the earlier one.
func TestARequestDoesNotExpireBeforeAnEarlierOneThatWasHandedBack(t *testing.T) {
	for name, run := range map[string]func(j *Job, ctx context.Context) error{
		"admission ends": func(j *Job, ctx context.Context) error { _, err := j.Run(ending{ctx}, ctx); return err },
		"the work ends":  func(j *Job, ctx context.Context) error { _, err := j.Run(ctx, ending{ctx}); return err },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(context.Context, Target) Verdict { return cancelled(1) })
			b.Policy = &policy.Policy{}
			first := b.begin(map[string]any{"umid": "m"})
			second := b.begin(map[string]any{"umid": "m", "scheduledAt": in(-time.Second)})
			first.Abandon()
			if err := run(second, t.Context()); err == nil {
				t.Errorf("%d outcomes", len(b.ledger.outcomes))
			}
		})
	}
}

// What an earlier outcome answers needs no call, and is not too late.
func TestADuplicateIsAnsweredAfterItsDeadlineToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		b := newBench(t, func(context.Context, Target) Verdict { calls++; return cancelled(1) })
		first := b.do(map[string]any{"umid": "m"})
		o := b.do(map[string]any{"umid": "m", "scheduledAt": in(-time.Hour)})
		if o.Status != StatusDuplicate || o.DuplicateOf != first.OutcomeID || calls != 1 {
			t.Errorf("%s after %d calls", o.Status, calls)
		}
	})
}

// Fault: the API refuses everything for 50 s, with requests due in a minute and
// delays of up to a minute between attempts. Promise: the delays shrink as the
// deadline comes, so nearly all are cancelled in time.
func TestNearItsDeadlineARequestIsRetriedFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		b := newBench(t, func(_ context.Context, target Target) Verdict {
			if time.Since(start) < 50*time.Second {
				return Verdict{Retry: true, Err: &Error{Kind: KindRateLimited, HTTPStatus: 429}} // without a Retry-After, and no reason for the breaker
			}
			return cancelled(1)
		})
		b.Retry.Initial, b.Retry.MaxInterval = time.Second, time.Minute
		var done []<-chan *Outcome
		for i := range 50 {
			done = append(done, b.send(map[string]any{"umid": string(rune('a'+i%26)) + string(rune('a'+i/26)), "scheduledAt": in(time.Minute)}))
		}
		inTime := 0
		for _, d := range done {
			if o := <-d; o.Status == StatusCancelled {
				inTime++
			}
		}
		if inTime < 48 {
			t.Errorf("%d of 50 were cancelled in time", inTime)
		}
	})
}
