package worker

import (
	"context"
	"errors"
	"time"

	"smscancel/worker/admission"
	"smscancel/worker/policy"
	"smscancel/worker/status"
)

// call attempts the cancellation until the API's answer is final or the
// request's limits are reached. wait ends with admit, and at the deadline.
func (j *Job) call(admit, wait, work context.Context) (*Outcome, error) {
	var retry *retries
	var last *Error
	for {
		pass, err := j.admission(wait)
		if j.expired(admit, wait) {
			pass.Done(admission.Result{Kind: admission.NotSent})
			return j.decided(StatusExpired, nil, last), nil
		}
		if errors.Is(err, policy.ErrWithdrawn) {
			return j.withdrawn(last), nil
		}
		var held *admission.HeldError
		if errors.As(err, &held) {
			return j.decided(StatusFailed, nil, refusal(held, last)), nil
		}
		if err != nil {
			return nil, err
		}
		retry = j.clock(retry, pass.Paused)
		verdict, shut, err := j.attempt(work, pass)
		if err != nil {
			return nil, err
		}
		if verdict.Hold && j.held < j.p.AuthHold { // the key is refused: the sub-account waits for a better one
			last = verdict.Err
			continue
		}
		if !verdict.Retry {
			return j.decided(verdict.Status, verdict.Count, verdict.Err), nil
		}
		last = verdict.Err
		if verdict.RetryAfter > 0 { // the sub-account waits, and the message is not charged
			continue
		}
		delay, ok := retry.next(time.Now(), j.request.Deadline)
		if !ok {
			return j.decided(StatusFailed, nil, last), nil
		}
		if shut {
			continue // the breaker spreads the calls; a backoff besides would leave it without probes
		}
		err = j.backOff(wait, retry, delay)
		switch {
		case errors.Is(err, policy.ErrWithdrawn):
			return j.withdrawn(last), nil
		case err != nil && !j.expired(admit, wait):
			return nil, err
		}
	}
}

// clock starts the retry clock with the first attempt, or with the moment the
// record was taken in hand if it waited for an earlier one of its message, and
// leaves out the time spent behind a pause.
func (j *Job) clock(r *retries, paused time.Duration) *retries {
	if r == nil && !j.turn.Waits() {
		return j.p.Retry.begin(time.Now())
	}
	if r == nil {
		r = j.p.Retry.begin(j.taken)
		r.paused = j.inLine
	}
	r.paused += paused
	return r
}

// admission waits until a call may go out. Behind the operator's pause it waits
// with nothing in hand.
func (j *Job) admission(ctx context.Context) (admission.Pass, error) {
	var paused time.Duration
	for {
		held, err := j.standStill(ctx)
		paused += held
		if err != nil {
			return admission.Pass{}, err
		}
		pass, again, err := j.admit(ctx)
		pass.Paused += paused
		if !again {
			return pass, err
		}
		paused = pass.Paused
	}
}

// admit asks for one call: lease and ledger first, so that nobody waits for them
// with a slot in hand. It ends when the operator's rules change, or when a pass
// came too late: again is to ask anew.
func (j *Job) admit(ctx context.Context) (pass admission.Pass, again bool, err error) {
	watched, stop, judgement := j.p.Policy.Watch(ctx, j.subject())
	defer stop()
	if judgement != nil {
		return pass, true, nil
	}
	if err = j.p.Permit.Wait(watched, j.base.Record.Offset); err == nil {
		pass, err = j.p.Admission.Wait(watched, j.ticket())
		j.held += pass.Held
	}
	if err != nil {
		return admission.Pass{Paused: pass.Paused}, policy.Changed(watched), err
	}
	if !j.p.Permit.Holds(j.base.Record.Offset) || j.p.Policy.Judge(j.subject()) != nil {
		pass.Done(admission.Result{Kind: admission.NotSent})
		return admission.Pass{Paused: pass.Paused}, true, nil
	}
	return pass, false, nil
}

// defaultDue is when a request without scheduledAt counts as due, after its
// record's timestamp.
const defaultDue = 10 * time.Minute

// ticket says how urgent the call is. That never changes: who comes back from a
// retry, or without a permit, keeps its place.
func (j *Job) ticket() admission.Ticket {
	t := admission.Ticket{SubAccountID: j.request.SubAccountID, Lane: j.p.Lane, Arrival: j.taken,
		Retry: j.attempts > 0, HoldFor: j.p.AuthHold - j.held}
	if t.Due, t.Dated = j.request.Deadline, !j.request.Deadline.IsZero(); !t.Dated {
		t.Due = j.timestamp.Add(defaultDue)
	}
	return t
}

// attempt makes one call. Its error is that of a context that ended under it;
// shut means that after it only probes go out.
func (j *Job) attempt(work context.Context, pass admission.Pass) (v Verdict, shut bool, err error) {
	started := time.Now()
	m := j.p.Metrics
	m.InFlight.Inc()
	v = j.p.Caller.Cancel(work, j.request.Target, j.request.TraceParent, j.request.TraceState)
	m.InFlight.Dec()
	shut = pass.Done(v.result(work.Err() != nil))
	if v.NoCall {
		return v, shut, nil
	}
	j.attempts++
	if j.first.IsZero() {
		j.first = started
	}
	m.Called(httpStatus(v), string(kind(v.Err)), time.Since(started))
	j.open = j.open || v.Open
	j.logAttempt(started, v)
	j.note(v.Err)
	if err := work.Err(); err != nil && v.Retry {
		return v, shut, err
	}
	return v, shut, nil
}

// refusal is what the API said last to the key of a sub-account, be it by the
// call for another message.
func refusal(held *admission.HeldError, last *Error) *Error {
	if e, ok := held.Detail.(*Error); ok && e != nil {
		return e
	}
	return last
}

// note keeps an error for the operator to see. A 404 or 400 is the answer to a
// question, not trouble.
func (j *Job) note(e *Error) {
	if e == nil || e.Kind == KindNotFound || e.Kind == KindInvalidRequest {
		return
	}
	j.p.Recent.Add(status.Error{Time: time.Now(), SubAccountID: j.request.SubAccountID, Kind: string(e.Kind),
		Code: e.Code, ErrorID: e.ErrorID, HTTPStatus: e.HTTPStatus, Message: e.Message})
}

// expired tells whether the deadline has passed, by the wall clock or, where
// that was set back, by the timer of wait.
func (j *Job) expired(admit, wait context.Context) bool {
	return !j.request.Deadline.IsZero() &&
		(!time.Now().Before(j.request.Deadline) || wait.Err() != nil && admit.Err() == nil)
}

// logAttempt tells how one call went: an outcome has only the last one's error.
func (j *Job) logAttempt(started time.Time, v Verdict) {
	line := j.p.Log.Debug()
	if !line.Enabled() {
		return
	}
	o := j.base
	line = line.Str("topic", o.Source.Topic).Int("partition", o.Source.Partition).Int64("offset", o.Source.Offset).
		Str("requestId", o.RequestID).Int("attempt", j.attempts).Str("startedAt", FormatTime(started)).
		Dur("took", time.Since(started)).Int("httpStatus", httpStatus(v)).Bool("open", v.Open)
	if v.Err != nil {
		line = line.Str("kind", string(v.Err.Kind)).Str("errorId", v.Err.ErrorID).Str("error", v.Err.Message)
	}
	line.Msg("attempt")
}

func httpStatus(v Verdict) int {
	switch {
	case v.Err != nil:
		return v.Err.HTTPStatus
	case v.Count != nil:
		return 200
	}
	return 0
}

// result is what an attempt tells about the calls that come after it.
func (v Verdict) result(cutOff bool) admission.Result {
	r := admission.Result{RetryAfter: v.RetryAfter, Detail: v.Err}
	switch {
	case v.Hold && v.Err.Kind == KindUpgradeRequired:
		r.Kind = admission.Upgrade
	case v.Hold:
		r.Kind = admission.BadKey
	case v.NoCall:
		r.Kind = admission.NotSent
	case cutOff && v.Retry:
		r.Kind = admission.CutOff
	case !v.Retry:
		r.Kind = admission.Answered
	case v.Err.Kind == KindRateLimited:
		r.Kind = admission.Throttled
	default:
		r.Kind = admission.Failed
	}
	return r
}
