package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSettledAnswersAreGivenToDuplicatesWithoutACall(t *testing.T) {
	for _, c := range []struct {
		name    string
		first   Verdict
		answers bool
	}{
		{"cancelled", cancelled(1), true},
		{"not cancelled", cancelled(0), true},
		{"batch count", cancelled(7), true},
		{"invalid request", errRefused, true},
		{"not found", errNotFound, false},
		{"forbidden", Verdict{Status: StatusFailed, Err: &Error{Kind: KindForbidden, HTTPStatus: 403}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			b := newBench(t, func(context.Context, Target) Verdict { calls++; return c.first })
			first := b.do(map[string]any{"umid": "AbC"})
			second := b.do(map[string]any{"umid": "aBc"}) // ids are compared in any case
			if !c.answers {
				if calls != 2 || second.Status != first.Status {
					t.Errorf("%d calls, second is %s", calls, second.Status)
				}
				return
			}
			if calls != 1 || second.Status != StatusDuplicate || second.DuplicateOf != first.OutcomeID || second.Attempts != 0 || second.FirstAttemptAt != "" {
				t.Fatalf("%d calls, second: %+v", calls, second)
			}
			if !equalJSON(second.CancelledCount, first.CancelledCount) || !equalJSON(second.Error, first.Error) {
				t.Errorf("answer %+v %+v, want %+v %+v", second.CancelledCount, second.Error, first.CancelledCount, first.Error)
			}
			if third := b.do(map[string]any{"umid": "abc"}); third.DuplicateOf != first.OutcomeID {
				t.Errorf("duplicateOf %s, want the outcome of the call, %s", third.DuplicateOf, first.OutcomeID)
			}
			if other := b.do(map[string]any{"umid": "abc", "subAccountId": "sub-2"}); other.Status == StatusDuplicate {
				t.Error("a message of another sub-account was answered as a duplicate")
			}
			if batch := b.do(map[string]any{"batchId": "abc"}); batch.Status == StatusDuplicate {
				t.Error("a batch was answered by a message of the same id")
			}
		})
	}
}

func equalJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestADuplicateInFlightWaitsAndIsAnsweredOnlyByADurableOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		b := newBench(t, func(context.Context, Target) Verdict { calls++; return errNotFound })
		b.ledger.hold = make(chan struct{})
		first := b.send(map[string]any{"umid": "m"})
		second := b.send(map[string]any{"umid": "m"})
		synctest.Wait()
		if len(b.ledger.outcomes) != 1 {
			t.Fatalf("%d outcomes are queued before the first is durable", len(b.ledger.outcomes))
		}
		close(b.ledger.hold)
		x, y := <-first, <-second
		if y.Status != StatusDuplicate || y.DuplicateOf != x.OutcomeID || y.Error.Kind != KindNotFound || calls != 1 {
			t.Errorf("%d calls; a duplicate that waited for a not_found got %+v", calls, y)
		}
		if z := b.do(map[string]any{"umid": "m"}); z.Status != StatusFailed || calls != 2 {
			t.Errorf("%d calls; a later one must call again, got %s", calls, z.Status)
		}
	})
}

func TestWhenTheFirstEndsWithoutAnAnswerTheNextCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		b := newBench(t, func(context.Context, Target) Verdict {
			calls++
			if calls == 1 {
				return Verdict{Status: StatusFailed, Err: &Error{Kind: KindForbidden, HTTPStatus: 403}}
			}
			return cancelled(1)
		})
		first, second, third := b.send(map[string]any{"umid": "m"}), b.send(map[string]any{"umid": "m"}), b.send(map[string]any{"umid": "m"})
		x, y, z := <-first, <-second, <-third
		if x.Status != StatusFailed || y.Status != StatusCancelled || z.Status != StatusDuplicate || calls != 2 {
			t.Errorf("%s, %s, %s with %d calls", x.Status, y.Status, z.Status, calls)
		}
	})
}

func TestForceCallsAgainAndItsAnswerReplacesTheEarlierOne(t *testing.T) {
	results := []Verdict{cancelled(1), cancelled(0)}
	calls := 0
	b := newBench(t, func(context.Context, Target) Verdict { calls++; return results[calls-1] })
	b.do(map[string]any{"umid": "m"})
	forced := b.do(map[string]any{"umid": "m", "force": true})
	later := b.do(map[string]any{"umid": "m"})
	if forced.Status != StatusNotCancelled || later.DuplicateOf != forced.OutcomeID || calls != 2 {
		t.Errorf("forced %s, later %+v, %d calls", forced.Status, later, calls)
	}
}

func TestAmbiguousIsSetWhenACallMayHaveTakenEffect(t *testing.T) {
	for _, c := range []struct {
		name      string
		verdicts  []Verdict
		inherited bool
		batch     bool
		want      bool
	}{
		{"500, then not cancelled", []Verdict{errServer, cancelled(0)}, false, false, true},
		{"500, then not found", []Verdict{errServer, errNotFound}, false, false, true},
		{"500, then cancelled", []Verdict{errServer, cancelled(1)}, false, false, false},
		{"500, then a batch cancelled", []Verdict{errServer, cancelled(1)}, false, true, true},
		{"503, then not cancelled", []Verdict{err503, cancelled(0)}, false, false, false},
		{"called before a crash, not cancelled", []Verdict{cancelled(0)}, true, false, true},
		{"called before a crash, cancelled now", []Verdict{cancelled(1)}, true, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				b := newBench(t, func(context.Context, Target) Verdict { calls++; return c.verdicts[min(calls, len(c.verdicts))-1] })
				if c.inherited {
					b.Inherited = 0
				}
				field := "umid"
				if c.batch {
					field = "batchId"
				}
				o := b.do(map[string]any{field: "m"})
				if o.Ambiguous != c.want || o.Attempts != len(c.verdicts) {
					t.Errorf("ambiguous %v, %d attempts: %+v", o.Ambiguous, o.Attempts, o)
				}
				if d := b.do(map[string]any{field: "m"}); d.Status == StatusDuplicate && d.Ambiguous != c.want {
					t.Errorf("its duplicate says ambiguous %v", d.Ambiguous)
				}
			})
		})
	}
}

func TestNoAttemptIsCountedWhereNoCallWasMade(t *testing.T) {
	b := newBench(t, func(context.Context, Target) Verdict {
		return Verdict{Status: StatusFailed, Hold: true, NoCall: true, Err: &Error{Kind: KindUnauthorized, Message: "no key"}}
	})
	if o := b.do(map[string]any{"umid": "m"}); o.Status != StatusFailed || o.Attempts != 0 || o.FirstAttemptAt != "" {
		t.Errorf("%s with %d attempts, the first at %q", o.Status, o.Attempts, o.FirstAttemptAt)
	}
}

func TestRetriesEndWithTheLastErrorWithinTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(context.Context, Target) Verdict { return err503 })
		b.Retry.MaxElapsed = time.Minute
		start := time.Now()
		o := b.do(map[string]any{"umid": "m"})
		if took := time.Since(start); o.Status != StatusFailed || o.Error.HTTPStatus != 503 || took > time.Minute || o.Attempts < 3 {
			t.Errorf("%s after %s and %d attempts: %+v", o.Status, took, o.Attempts, o.Error)
		}
		b.Retry.MaxAttempts = 4
		if o := b.do(map[string]any{"umid": "n"}); o.Attempts != 4 || o.Status != StatusFailed {
			t.Errorf("%d attempts of 4: %s", o.Attempts, o.Status)
		}
	})
}

func TestRetryAfterPausesTheSubAccountAndChargesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32 // two messages of the sub-account call at the same time
		b := newBench(t, func(_ context.Context, target Target) Verdict {
			if target.SubAccountID != "sub-1" {
				return cancelled(1)
			}
			if calls.Add(1) <= 5 {
				return Verdict{Retry: true, RetryAfter: time.Minute, Err: &Error{Kind: KindRateLimited, HTTPStatus: 429}}
			}
			return cancelled(1)
		})
		b.Retry.MaxAttempts, b.Retry.MaxElapsed = 2, 10*time.Second
		start := time.Now()
		slow := b.send(map[string]any{"umid": "m"})
		synctest.Wait()
		other := b.do(map[string]any{"umid": "m", "subAccountId": "sub-2"})
		if waited := time.Since(start); waited > 0 {
			t.Errorf("another sub-account waited %s (%s)", waited, other.Status)
		}
		neighbour := b.send(map[string]any{"umid": "n"})
		o := <-slow
		if o.Status != StatusCancelled || o.Attempts < 2 {
			t.Errorf("%s after %d attempts: five pauses of a minute were charged to the message", o.Status, o.Attempts)
		}
		if (<-neighbour).Status != StatusCancelled || time.Since(start) < 2*time.Minute {
			t.Errorf("the pauses were not kept: all done after %s", time.Since(start))
		}
	})
}

func TestPastItsDeadlineARequestExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		b := newBench(t, func(context.Context, Target) Verdict { calls++; return err503 })
		past := b.do(map[string]any{"umid": "m", "scheduledAt": time.Now().Add(-time.Second).Format(time.RFC3339)})
		if past.Status != StatusExpired || past.Attempts != 0 || past.Error != nil || calls != 0 {
			t.Errorf("past its deadline: %d calls, %+v", calls, past)
		}
		start := time.Now()
		soon := b.do(map[string]any{"umid": "n", "scheduledAt": start.Add(5 * time.Second).UTC().Format(time.RFC3339)})
		if took := time.Since(start); soon.Status != StatusExpired || soon.Error == nil || soon.Error.HTTPStatus != 503 || took > 5*time.Second {
			t.Errorf("after %s: %+v", took, soon)
		}
	})
}

func TestDrainingHandsBackWhatWasNotCalledAndFinishesWhatWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan Verdict)
		b := newBench(t, func(ctx context.Context, target Target) Verdict {
			if target.ID == "retries" {
				return errServer
			}
			return <-release
		})
		var drain context.CancelFunc
		b.admit, drain = context.WithCancel(t.Context())
		inHand, waits, retries := b.send(map[string]any{"umid": "m"}), b.send(map[string]any{"umid": "m"}), b.send(map[string]any{"umid": "retries"})
		synctest.Wait()
		drain()
		if o, ok := <-waits; ok {
			t.Errorf("a duplicate that waited got %+v", o)
		}
		if o, ok := <-retries; ok {
			t.Errorf("a retry that waited got %+v", o)
		}
		release <- cancelled(1)
		if o := <-inHand; o == nil || o.Status != StatusCancelled {
			t.Errorf("the call in hand ended as %+v", o)
		}
	})
}

func TestAHandedBackCallThatMayHaveTakenEffectIsReported(t *testing.T) {
	for name, c := range map[string]struct {
		verdict Verdict
		ledger  error
		want    bool
	}{
		"open":                        {errServer, nil, true},
		"closed":                      {err503, nil, false},
		"called, outcome not written": {cancelled(1), errors.New("fenced"), true},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, func(context.Context, Target) Verdict { return c.verdict })
			b.ledger.fail = c.ledger
			admit, drain := context.WithCancel(t.Context())
			job := b.take(&Record{Topic: "requests", Timestamp: time.Now(), Value: []byte(`{"umid":"m","subAccountId":"sub-1"}`)})
			done := make(chan error, 1)
			go func() { _, err := job.Run(admit, t.Context()); done <- err }()
			synctest.Wait()
			drain()
			if err := <-done; err == nil || job.MayHaveCalled() != c.want {
				t.Errorf("%s: err %v, may have called: %v", name, err, job.MayHaveCalled())
			}
		})
	}
}

func TestDifferentMessagesRunConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		b := newBench(t, func(_ context.Context, target Target) Verdict {
			if target.ID == "stuck" {
				<-release
			}
			return cancelled(1)
		})
		stuck := b.send(map[string]any{"umid": "stuck"})
		for i := range 50 {
			if o := b.do(map[string]any{"umid": fmt.Sprint("m", i)}); o.Status != StatusCancelled {
				t.Fatalf("%+v", o)
			}
		}
		close(release)
		<-stuck
	})
}

// The next in line must not call for a session that has lost its ledger: it has
// its turn only after the session was failed, which Abandon follows.
func TestNobodyIsWokenByAnOutcomeThatWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		b := newBench(t, func(context.Context, Target) Verdict { calls++; return cancelled(1) })
		b.ledger.fail = ErrFenced
		value := []byte(`{"umid":"m","subAccountId":"sub-1"}`)
		first := b.take(&Record{Topic: "requests", Timestamp: time.Now(), Value: value})
		second := b.take(&Record{Topic: "requests", Offset: 1, Timestamp: time.Now(), Value: value})
		work, fail := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { _, err := second.Run(work, work); done <- err }()
		if _, err := first.Run(work, work); !errors.Is(err, ErrFenced) {
			t.Fatalf("first ended with %v", err)
		}
		synctest.Wait()
		if calls != 1 {
			t.Fatalf("%d calls before the session was failed", calls)
		}
		fail()
		first.Abandon()
		if err := <-done; err == nil || calls != 1 {
			t.Errorf("%d calls, second ended with %v", calls, err)
		}
	})
}

func TestARequestExpiresAlthoughTheWallClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(context.Context, Target) Verdict { return err503 })
		job := b.take(&Record{Topic: "requests", Timestamp: time.Now(), Value: []byte(`{"umid":"m","subAccountId":"sub-1","scheduledAt":"2999-01-01T00:00:00Z"}`)})
		over, cancel := context.WithCancel(t.Context())
		cancel() // the timer of the deadline has fired, though the clock says it is far away
		if !job.expired(t.Context(), over) || job.expired(over, over) || job.expired(t.Context(), t.Context()) {
			t.Error("a deadline passes by the timer, unless admission as a whole has ended")
		}
	})
}
