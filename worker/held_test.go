package worker

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/worker/admission"
	"smscancel/worker/policy"
)

// newHeldBench is a bench with an operator. Sub-accounts may make a call a second.
func newHeldBench(t *testing.T, caller callerFunc) *bench {
	t.Helper()
	b := newBench(t, caller)
	b.Policy = &policy.Policy{}
	b.Admission = admission.New(admission.Config{RatePerSubAccount: 1, RetryAfterMax: time.Hour})
	return b
}

func ofCampaign(campaign, umid string) map[string]any {
	return map[string]any{"umid": umid, "campaignId": campaign}
}

// mustBeWithdrawn waits for the outcome of a withdrawn request, which must come
// in no time.
func mustBeWithdrawn(t *testing.T, done <-chan *Outcome, attempts int, ambiguous bool) {
	t.Helper()
	asked := time.Now()
	o := <-done
	if o == nil {
		t.Fatal("handed back")
	}
	if o.Status != StatusFailed || kind(o.Error) != KindWithdrawn || o.Error.HTTPStatus != 0 || o.Attempts != attempts || o.Ambiguous != ambiguous {
		t.Errorf("%s, error %+v, %d attempts, ambiguous: %t", o.Status, o.Error, o.Attempts, o.Ambiguous)
	}
	if waited := time.Since(asked); waited > 0 {
		t.Errorf("its outcome came %s later", waited)
	}
}

func TestAWithdrawnCampaignFailsWithoutACallAndNoOtherDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		b := newBench(t, func(context.Context, Target) Verdict { calls++; return cancelled(1) })
		b.Policy = &policy.Policy{}
		b.do(ofCampaign("wrong", "settled"))
		b.Policy.Set(policy.Rules{Withdrawn: []string{"wrong"}})
		for _, request := range []map[string]any{
			ofCampaign("wrong", "m"), ofCampaign("wrong", "settled"), {"batchId": "b", "campaignId": "wrong"}, {"umid": "f", "campaignId": "wrong", "force": true},
		} {
			mustBeWithdrawn(t, b.send(request), 0, false)
		}
		for _, request := range []map[string]any{ofCampaign("Wrong", "n"), {"umid": "o"}, ofCampaign("wrong ", "p")} {
			if o := b.do(request); o.Status != StatusCancelled {
				t.Errorf("%v: %s %+v", request, o.Status, o.Error)
			}
		}
		if calls != 4 {
			t.Errorf("%d calls, want 4", calls)
		}
		if o := b.do(ofCampaign("right", "m")); o.Status != StatusCancelled {
			t.Errorf("a withdrawn request answers a later one: %s", o.Status)
		}
	})
}

// Whatever it waits for, a request has its outcome in the instant in which its
// campaign is withdrawn.
func TestARequestLearnsAtOnceThatItsCampaignIsWithdrawn(t *testing.T) {
	withdraw := policy.Rules{Withdrawn: []string{"wrong"}}
	for name, c := range map[string]struct {
		answer    Verdict
		attempts  int
		ambiguous bool
		before    func(b *bench)
	}{
		"waits for a token": {before: func(b *bench) {
			b.do(map[string]any{"umid": "first"})
		}},
		"waits for the end of a Retry-After": {before: func(b *bench) {
			pass, _ := b.Admission.Wait(b.admit, admission.Ticket{SubAccountID: "sub-1"})
			pass.Done(admission.Result{Kind: admission.Throttled, RetryAfter: time.Hour})
		}},
		"waits for a lease": {before: func(b *bench) {
			b.Permit = noPermit{}
		}},
		"is paused, the campaign": {before: func(b *bench) {
			b.Policy.Set(policy.Rules{Campaigns: []string{"wrong"}})
		}},
		"is paused, the sub-account": {before: func(b *bench) {
			b.Policy.Set(policy.Rules{SubAccounts: []string{"sub-1"}})
		}},
		"waits for its retry":                           {answer: err503, attempts: 1},
		"waits for its retry, may have been called":     {answer: errServer, attempts: 1, ambiguous: true},
		"was called before a crash, waits for a permit": {ambiguous: true, before: func(b *bench) { b.Inherited, b.Permit = 1000, noPermit{} }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newHeldBench(t, func(_ context.Context, target Target) Verdict {
					if target.ID == "m" {
						return c.answer
					}
					return cancelled(1)
				})
				b.Retry = RetryPolicy{Initial: time.Hour, MaxInterval: time.Hour}
				if c.before != nil {
					c.before(b)
				}
				done := b.send(ofCampaign("wrong", "m"))
				synctest.Wait()
				b.Policy.Set(withdraw)
				mustBeWithdrawn(t, done, c.attempts, c.ambiguous)
			})
		})
	}
}

// noPermit never comes.
type noPermit struct{}

func (noPermit) Wait(ctx context.Context, _ int64) error { <-ctx.Done(); return ctx.Err() }
func (noPermit) Holds(int64) bool                        { return false }

func TestAWithdrawnDuplicateLeavesTheLineAndOthersStayInIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan Verdict)
		b := newHeldBench(t, func(context.Context, Target) Verdict { return <-answer })
		first := b.send(ofCampaign("right", "m"))
		wrong := b.send(ofCampaign("wrong", "m"))
		last := b.send(ofCampaign("right", "m"))
		synctest.Wait()
		b.Policy.Set(policy.Rules{Withdrawn: []string{"wrong"}})
		mustBeWithdrawn(t, wrong, 0, false)
		answer <- cancelled(1)
		if x, y := <-first, <-last; x.Status != StatusCancelled || y.Status != StatusDuplicate || y.DuplicateOf != x.OutcomeID {
			t.Errorf("%s, %s of %s", x.Status, y.Status, y.DuplicateOf)
		}
	})
}

func TestACallInHandIsFinishedAndToldAsItEnded(t *testing.T) {
	for _, rules := range []policy.Rules{{Withdrawn: []string{"wrong"}}, {PauseAll: true}} {
		synctest.Test(t, func(t *testing.T) {
			answer := make(chan Verdict)
			b := newHeldBench(t, func(context.Context, Target) Verdict { return <-answer })
			done := b.send(ofCampaign("wrong", "m"))
			synctest.Wait()
			b.Policy.Set(rules)
			synctest.Wait()
			answer <- cancelled(1)
			if o := <-done; o.Status != StatusCancelled {
				t.Errorf("%+v: %s %+v", rules, o.Status, o.Error)
			}
		})
	}
}

// The rules change between the grant of a pass and the call: the last look is
// the one that counts.
func TestNoCallGoesOutOnAPassFromBeforeTheRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		b := newHeldBench(t, func(context.Context, Target) Verdict { calls++; return cancelled(1) })
		b.Permit = &lastMoment{do: func() { b.Policy.Set(policy.Rules{Campaigns: []string{"wrong"}}) }}
		done := b.send(ofCampaign("wrong", "m"))
		synctest.Wait()
		if calls != 0 || b.Paused() != 1 || b.Admission.Snapshot().InFlight != 0 {
			t.Fatalf("%d calls, %d paused, %d slots taken", calls, b.Paused(), b.Admission.Snapshot().InFlight)
		}
		b.Permit = &lastMoment{do: func() { b.Policy.Set(policy.Rules{Withdrawn: []string{"wrong"}}) }}
		b.Policy.Set(policy.Rules{})
		if <-done; calls != 0 {
			t.Errorf("%d calls", calls)
		}
	})
}

// lastMoment does something when the permit is looked at for the last time.
type lastMoment struct {
	permitAll
	do func()
}

func (l *lastMoment) Holds(int64) bool { l.do(); return true }

func TestPausedRequestsHoldNoSlotAndNoTokenAndGoOnWhenThePauseEnds(t *testing.T) {
	for name, rules := range map[string]policy.Rules{
		"a campaign": {Campaigns: []string{"wrong"}}, "a sub-account": {SubAccounts: []string{"sub-1"}}, "everything": {PauseAll: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int32
				b := newBench(t, func(context.Context, Target) Verdict { calls.Add(1); return cancelled(1) })
				b.Policy, b.Admission = &policy.Policy{}, admission.New(admission.Config{Concurrency: 1, RatePerSubAccount: 1})
				b.Policy.Set(rules)
				var held []<-chan *Outcome
				for i := range 100 {
					held = append(held, b.send(ofCampaign("wrong", fmt.Sprint(i))))
				}
				synctest.Wait()
				if n := b.Policy.Snapshot().Waiting["sub-1"]; n != 100 || b.Paused() != 100 || calls.Load() != 0 {
					t.Errorf("%d and %d paused, %d calls", n, b.Paused(), calls.Load())
				}
				if !rules.PauseAll {
					other := map[string]any{"umid": "other", "subAccountId": "sub-2"}
					if rules.Campaigns != nil {
						other = map[string]any{"umid": "other"} // the token of the same sub-account is there for it
					}
					start := time.Now()
					if o := b.do(other); o.Status != StatusCancelled || time.Since(start) > 0 {
						t.Errorf("another request: %s after %s", o.Status, time.Since(start))
					}
				}
				b.Policy.Set(policy.Rules{})
				for i, done := range held {
					if o := <-done; o.Status != StatusCancelled {
						t.Fatalf("request %d: %s", i, o.Status)
					}
				}
				if len(b.Policy.Snapshot().Waiting) != 0 || b.Paused() != 0 {
					t.Errorf("%v wait, %d paused", b.Policy.Snapshot().Waiting, b.Paused())
				}
			})
		})
	}
}

func TestWhatIsPausedAnswersDuplicatesAllTheSame(t *testing.T) {
	b := newHeldBench(t, func(context.Context, Target) Verdict { return cancelled(1) })
	first := b.do(ofCampaign("wrong", "m"))
	b.Policy.Set(policy.Rules{PauseAll: true})
	if o := b.do(ofCampaign("wrong", "m")); o.Status != StatusDuplicate || o.DuplicateOf != first.OutcomeID {
		t.Errorf("%s of %s", o.Status, o.DuplicateOf)
	}
}

// A pause of an hour in the middle of a backoff: of the minute that the request
// may take nothing is used up, and of its delay what was left.
func TestRetryClocksStandStillBehindAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		start := time.Now()
		b := newHeldBench(t, func(context.Context, Target) Verdict {
			at = append(at, time.Since(start))
			return err503
		})
		b.Admission = admission.New(admission.Config{})
		b.Retry.MaxElapsed = time.Minute
		done := b.send(ofCampaign("wrong", "m"))
		synctest.Wait()
		paused := 0
		for range 3 {
			b.Policy.Set(policy.Rules{Campaigns: []string{"wrong"}})
			<-time.After(time.Hour)
			paused++
			if n := len(at); n > 0 && at[n-1] > time.Duration(paused-1)*time.Hour+time.Minute {
				t.Errorf("called at %s", at[n-1])
			}
			b.Policy.Set(policy.Rules{})
			<-time.After(time.Millisecond)
			synctest.Wait()
		}
		o := <-done
		if took := time.Since(start); o.Status != StatusFailed || o.Error.HTTPStatus != 503 || took < 3*time.Hour || took > 3*time.Hour+time.Minute || o.Attempts < 3 {
			t.Errorf("%s after %s and %d attempts at %v", o.Status, took, o.Attempts, at)
		}
	})
}

func TestABackoffGoesOnWhereThePauseStoppedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHeldBench(t, func(context.Context, Target) Verdict { return cancelled(1) })
		job := b.take(&Record{Topic: "requests", Value: []byte(`{"umid":"m","subAccountId":"sub-1"}`)})
		ended := make(chan time.Time, 1)
		start := time.Now()
		r := b.Retry.begin(start)
		go func() {
			if err := job.backOff(t.Context(), r, 10*time.Second); err != nil {
				t.Error(err)
			}
			ended <- time.Now()
		}()
		<-time.After(4 * time.Second)
		b.Policy.Set(policy.Rules{PauseAll: true})
		<-time.After(time.Minute)
		b.Policy.Set(policy.Rules{})
		if took := (<-ended).Sub(start); took != time.Minute+10*time.Second || r.paused != time.Minute {
			t.Errorf("%s, of which %s are not charged", took, r.paused)
		}
	})
}

// Two requests for one message are paused for an hour. When the first has failed
// the second has its whole minute of retries.
func TestAPauseInLineIsNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []Verdict{{Status: StatusFailed, Err: &Error{Kind: KindForbidden, HTTPStatus: 403}}, err503, err503, cancelled(1)}
		b := newHeldBench(t, func(context.Context, Target) Verdict {
			answer := answers[0]
			answers = answers[1:]
			return answer
		})
		b.Admission = admission.New(admission.Config{})
		b.Retry.MaxElapsed = time.Minute
		b.Policy.Set(policy.Rules{PauseAll: true})
		first, second := b.send(ofCampaign("wrong", "m")), b.send(ofCampaign("wrong", "m"))
		<-time.After(time.Hour)
		b.Policy.Set(policy.Rules{})
		if x, y := <-first, <-second; x.Status != StatusFailed || y.Status != StatusCancelled || y.Attempts != 3 {
			t.Errorf("%s, then %s after %d attempts", x.Status, y.Status, y.Attempts)
		}
	})
}

func TestDeadlinesPassWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHeldBench(t, func(context.Context, Target) Verdict { t.Error("called"); return cancelled(1) })
		b.Policy.Set(policy.Rules{PauseAll: true})
		start := time.Now()
		o := b.do(map[string]any{"umid": "m", "scheduledAt": start.Add(5 * time.Second).UTC().Format(time.RFC3339)})
		if o.Status != StatusExpired || time.Since(start) != 5*time.Second {
			t.Errorf("%s after %s", o.Status, time.Since(start))
		}
	})
}

func TestDrainingHandsBackWhatIsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHeldBench(t, func(context.Context, Target) Verdict { return errServer })
		var drain context.CancelFunc
		b.admit, drain = context.WithCancel(t.Context())
		retries := b.send(ofCampaign("wrong", "called"))
		synctest.Wait()
		b.Policy.Set(policy.Rules{PauseAll: true})
		fresh, inLine := b.send(ofCampaign("wrong", "m")), b.send(ofCampaign("wrong", "m"))
		synctest.Wait()
		drain()
		for name, done := range map[string]<-chan *Outcome{"a retry": retries, "a new one": fresh, "a duplicate": inLine} {
			if o, ok := <-done; ok {
				t.Errorf("%s got %+v", name, o)
			}
		}
	})
}

// Rules about others must not send a waiter to the end of its queue.
func TestRulesAboutOthersCostNobodyHisPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		b := newHeldBench(t, func(_ context.Context, target Target) Verdict { order = append(order, target.ID); return cancelled(1) })
		var all []<-chan *Outcome
		for i := range 20 {
			all = append(all, b.send(ofCampaign("right", fmt.Sprintf("%02d", i))))
			synctest.Wait()
			b.Policy.Set(policy.Rules{Withdrawn: []string{fmt.Sprint("wrong", i)}, Campaigns: []string{fmt.Sprint("late", i)}})
		}
		for _, done := range all {
			<-done
		}
		for i, id := range order {
			if id != fmt.Sprintf("%02d", i) {
				t.Fatalf("order %v", order)
			}
		}
	})
}

// A full window of one campaign waits at the limit of one call a second: when it is
// paused no call goes out for an hour, when it is withdrawn all have their outcomes
// in the same instant.
func TestAFullWindowOfAWrongCampaignIsStoppedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const window = 20_000
		var calls atomic.Int32
		b := newHeldBench(t, func(context.Context, Target) Verdict { calls.Add(1); return cancelled(1) })
		all := make([]<-chan *Outcome, window)
		for i := range all {
			all[i] = b.send(ofCampaign("wrong", fmt.Sprint(i)))
		}
		<-time.After(9500 * time.Millisecond)
		b.Policy.Set(policy.Rules{Campaigns: []string{"wrong"}})
		<-time.After(time.Hour)
		if n := calls.Load(); n != 10 || b.Paused() != window-10 {
			t.Errorf("%d calls, want 10; %d paused", n, b.Paused())
		}
		b.Policy.Set(policy.Rules{Withdrawn: []string{"wrong"}})
		withdrawn := 0
		asked := time.Now()
		for _, done := range all {
			if o := <-done; o.Status == StatusFailed && o.Error.Kind == KindWithdrawn {
				withdrawn++
			}
		}
		if n := calls.Load(); n != 10 || withdrawn != window-10 || time.Since(asked) > 0 {
			t.Errorf("%d calls, %d withdrawn, after %s", n, withdrawn, time.Since(asked))
		}
	})
}
