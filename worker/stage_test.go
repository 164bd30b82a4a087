package worker

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/worker/policy"
)

// Promise: the status can say what a request waits for, wherever it waits.
func TestAJobKnowsWhatItWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		verdict := Verdict{}
		answer := make(chan struct{})
		b := newHeldBench(t, func(context.Context, Target) Verdict { <-answer; return verdict })
		next := func(fields map[string]any) *Job {
			job := b.begin(fields)
			go func() {
				if _, err := job.Run(b.admit, b.work); err != nil {
					job.Abandon()
				}
			}()
			synctest.Wait()
			return job
		}
		want := func(job *Job, stage string) {
			t.Helper()
			synctest.Wait()
			if got := job.Stage(); got != stage {
				t.Errorf("it says %q, want %q", got, stage)
			}
		}
		first := next(map[string]any{"umid": "a"})
		want(first, "call")
		want(next(map[string]any{"umid": "a"}), "duplicate")
		verdict = err503
		answer <- struct{}{}
		want(first, "retry")
		verdict = Verdict{Retry: true, RetryAfter: time.Minute, Err: err503.Err}
		go func() { answer <- struct{}{} }()
		time.Sleep(time.Second)
		want(first, WaitsForAdmission)
		b.Policy.Set(policy.Rules{PauseAll: true})
		want(first, "pause")
		if first.SubAccountID() != "sub-1" {
			t.Errorf("of sub-account %q", first.SubAccountID())
		}
		b.Policy.Set(policy.Rules{})
		verdict = cancelled(1)
		answer <- struct{}{}
		want(first, "outcome")
		if o := b.Tally.Outcomes(); o.Total.Cancelled != 1 || o.Total.Duplicate != 1 {
			t.Errorf("counted %+v", o.Total)
		}
	})
}
