package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"smscancel/worker/policy"
)

// This file is how a job obeys the operator wherever it waits: in line, before a
// call, before a retry. Its place before the call is in admission.

// subject is what the operator's rules look at.
func (j *Job) subject() policy.Subject {
	return policy.Subject{SubAccountID: j.request.SubAccountID, CampaignID: j.request.CampaignID}
}

// waitTurn waits until the earlier records of the message are done, unless the
// campaign is withdrawn meanwhile: then there is nothing to wait for. It does not
// end at the deadline: what the one before finds may be this one's answer.
func (j *Job) waitTurn(ctx context.Context) (*Outcome, error) {
	if !j.turn.Waits() {
		if err := j.p.Policy.Judge(j.subject()); errors.Is(err, policy.ErrWithdrawn) {
			return nil, err
		}
		return j.turn.Wait(ctx)
	}
	j.at(stageDuplicate)
	waiting := j.p.Metrics.Waiting.WithLabelValues("duplicate")
	waiting.Inc()
	defer waiting.Dec()
	for {
		answer, again, err := j.lineUp(ctx)
		if !again {
			return answer, err
		}
	}
}

// lineUp waits in line as long as the operator's rules stay as they are.
func (j *Job) lineUp(ctx context.Context) (answer *Outcome, again bool, err error) {
	watched, stop, judgement := j.p.Policy.Watch(ctx, j.subject())
	defer stop()
	if errors.Is(judgement, policy.ErrWithdrawn) {
		return nil, false, judgement
	}
	began := time.Now()
	answer, err = j.turn.Wait(watched)
	if errors.Is(judgement, policy.ErrPaused) {
		j.inLine += time.Since(began)
	}
	return answer, err != nil && policy.Changed(watched), err
}

// standStill waits as long as the operator has the request paused.
func (j *Job) standStill(ctx context.Context) (time.Duration, error) {
	if err := j.p.Policy.Judge(j.subject()); !errors.Is(err, policy.ErrPaused) {
		return 0, err
	}
	j.at(stagePause)
	j.p.paused.Add(1)
	defer j.p.paused.Add(-1)
	return j.p.Policy.Wait(ctx, j.subject())
}

// backOff waits before another attempt. The operator's pause stops its clock.
func (j *Job) backOff(ctx context.Context, r *retries, delay time.Duration) error {
	for {
		paused, err := j.standStill(ctx)
		r.paused += paused
		if err != nil {
			return err
		}
		left, err := j.sleep(ctx, delay)
		if left <= 0 || err != nil {
			return err
		}
		delay = left
	}
}

// sleep waits for d as long as the operator's rules let the request go on, and
// returns what is left of it where they changed.
func (j *Job) sleep(ctx context.Context, d time.Duration) (left time.Duration, err error) {
	watched, stop, judgement := j.p.Policy.Watch(ctx, j.subject())
	defer stop()
	if judgement != nil {
		return d, nil
	}
	j.at(stageRetry)
	waiting := j.p.Metrics.Waiting.WithLabelValues("retry")
	waiting.Inc()
	defer waiting.Dec()
	began := time.Now()
	if err := Sleep(watched, d); err != nil && !policy.Changed(watched) {
		return 0, err
	}
	return d - time.Since(began), nil
}

// withdrawn is the outcome of a request whose campaign the operator has
// withdrawn. What an earlier call may have done stays said.
func (j *Job) withdrawn(last *Error) *Outcome {
	e := &Error{Kind: KindWithdrawn, Message: policy.ErrWithdrawn.Error()}
	if last != nil {
		e.Message = fmt.Sprintf("%s, after: %s: %s", e.Message, last.Kind, last.Message)
	}
	return j.decided(StatusFailed, nil, e)
}
