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
		l, err := j.admission(wait)
		if j.expired(admit, wait) {
			l.giveBack()
			return j.decided(StatusExpired, nil, last), nil
		}
		if err != nil {
			return j.notAdmitted(err, last)
		}
		retry = j.clock(retry, l.Paused)
		verdict, shut, err := j.attempt(work, l)
		if err != nil {
			return nil, err
		}
		if verdict.NoCall && verdict.Retry { // called off: what stood in its way is looked at anew
			continue
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

// notAdmitted is how a request ends that may not be called.
func (j *Job) notAdmitted(err error, last *Error) (*Outcome, error) {
	if errors.Is(err, policy.ErrWithdrawn) {
		return j.withdrawn(last), nil
	}
	var held *admission.HeldError
	if errors.As(err, &held) {
		return j.decided(StatusFailed, nil, refusal(held, last)), nil
	}
	return nil, err
}

// clock starts the retry clock with the first attempt, or with the moment the
// record was taken in hand if it waited for an earlier one of its message, and
// leaves out the time spent behind a pause.
func (j *Job) clock(r *retries, paused time.Duration) *retries {
	if j.attempts == 0 && !j.turn.Waits() {
		return j.p.Retry.begin(time.Now())
	}
	if r == nil {
		r = j.p.Retry.begin(j.taken)
		r.paused = j.inLine
	}
	r.paused += paused
	return r
}

// leave is the permission for one call: a pass, for as long as the operator's
// rules and the deadline let it.
type leave struct {
	admission.Pass
	wanted context.Context
	end    func() // must be called once the call is over
}

// giveBack is for a call that was not made.
func (l leave) giveBack() {
	l.Done(admission.Result{Kind: admission.NotSent})
	if l.end != nil {
		l.end()
	}
}

// admission waits until a call may go out. Behind the operator's pause it waits
// with nothing in hand.
func (j *Job) admission(ctx context.Context) (leave, error) {
	var paused time.Duration
	for {
		held, err := j.standStill(ctx)
		paused += held
		if err != nil {
			return leave{}, err
		}
		l, again, err := j.admit(ctx)
		l.Paused += paused
		if !again {
			return l, err
		}
		paused = l.Paused
	}
}

// admit asks for one call: lease and ledger first, so that nobody waits for them
// with a slot in hand. It ends when the operator's rules change, or when a pass
// came too late: again is to ask anew.
func (j *Job) admit(ctx context.Context) (l leave, again bool, err error) {
	watched, stop, judgement := j.p.Policy.Watch(ctx, j.subject())
	l = leave{wanted: watched, end: stop}
	if judgement != nil {
		stop()
		return leave{}, true, nil
	}
	j.at(stageLedger)
	if err = j.p.Permit.Wait(watched, j.base.Record.Offset); err == nil {
		j.at(stageAdmission)
		l.Pass, err = j.p.Admission.Wait(watched, j.ticket())
		j.held += l.Held
	}
	again = err != nil && policy.Changed(watched) || err == nil && !j.mayStart(l)
	if err != nil || again {
		l.giveBack()
		return leave{Pass: admission.Pass{Paused: l.Paused}}, again, err
	}
	return l, false, nil
}

// mayStart is the last look before a call.
func (j *Job) mayStart(l leave) bool {
	return j.p.Permit.Holds(j.base.Record.Offset) && j.p.Policy.Judge(j.subject()) == nil && l.Stands()
}

// confirm is the last look once the connection stands. The ledger is waited for:
// a connection that takes longer to stand than the ledger is trusted unproven would
// else never be used.
func (j *Job) confirm(ctx context.Context, l leave) bool {
	offset := j.base.Record.Offset
	return j.p.Permit.Wait(ctx, offset) == nil && l.Confirm(ctx) && l.wanted.Err() == nil && j.inTime() && j.p.Permit.Holds(offset)
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
func (j *Job) attempt(work context.Context, l leave) (v Verdict, shut bool, err error) {
	defer l.end()
	j.at(stageCall)
	started := time.Now()
	m := j.p.Metrics
	m.InFlight.Inc()
	v = j.p.Caller.Cancel(j.spanned(work), Call{Target: j.request.Target, TraceParent: j.base.TraceParent, TraceState: j.base.TraceState, Resend: j.attempts,
		Wanted: l.wanted, Confirm: func(ctx context.Context) bool { return j.confirm(ctx, l) }})
	m.InFlight.Dec()
	shut = l.Done(v.result(work.Err() != nil))
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
	return !j.inTime() || !j.request.Deadline.IsZero() && wait.Err() != nil && admit.Err() == nil
}

func (j *Job) inTime() bool {
	return j.request.Deadline.IsZero() || time.Now().Before(j.request.Deadline)
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
