package worker

import (
	"context"
	"errors"
	"time"

	"smscancel/worker/admission"
	"smscancel/worker/dedupe"
	"smscancel/worker/status"
)

// Job is one record in hand. It keeps nothing of the record's bytes.
type Job struct {
	p         *Partition
	base      *Outcome // everything but the result; complete for a rejected record
	timestamp time.Time
	request   *Request // nil when rejected
	key       dedupe.Key
	turn      *dedupe.Turn[Outcome] // nil when rejected
	taken     time.Time

	open     bool // a call may have taken effect without its answer reaching us
	attempts int
	first    time.Time // of the first attempt
}

// Begin takes a record in hand. Call it in the order of offsets: the order in
// which the records of one message are handled is fixed here.
func (p *Partition) Begin(rec *Record) *Job {
	j := &Job{p: p, timestamp: rec.Timestamp, taken: time.Now(), open: rec.Offset <= p.Inherited}
	p.Metrics.Requests.WithLabelValues(rec.Topic).Inc()
	req, err := p.Parser.Parse(rec)
	var rejection *Rejection
	if errors.As(err, &rejection) {
		j.base = RejectedOutcome(rec, rejection, p.ClusterID)
		return j
	}
	j.base = NewOutcome(rec, req, p.ClusterID)
	j.request = req
	j.key = dedupe.Key128(p.Hasher, req.Target.Identity())
	j.turn = p.claims.Enter(j.key, req.Force)
	return j
}

// Key is the record key that the request should have; false for a rejected record.
func (j *Job) Key() (string, bool) {
	if j.request == nil {
		return "", false
	}
	return j.request.Target.Key(), true
}

// Run handles the record and returns the ledger offset of its durable outcome.
//
// When admit ends, the job hands back what has not been called yet; a call in
// hand is finished and its outcome written. When work ends, all ends. An error
// means that the record has no outcome of ours; Abandon must follow.
func (j *Job) Run(admit, work context.Context) (int64, error) {
	o, err := j.outcome(admit, work)
	if err != nil {
		return 0, err
	}
	return j.settle(work, o)
}

// Abandon gives the turn to the next record of the message after Run failed.
func (j *Job) Abandon() { j.leave(nil) }

// MayHaveCalled tells, after Run failed, whether a call of this job may have
// taken effect.
func (j *Job) MayHaveCalled() bool { return j.open }

// outcome is the way of a record from parsed to decided.
func (j *Job) outcome(admit, work context.Context) (*Outcome, error) {
	if j.request == nil {
		return j.base, nil
	}
	answer, err := j.waitTurn(admit)
	if err != nil {
		return nil, err
	}
	if j.request.Force {
		return j.call(admit, work)
	}
	if answer == nil {
		if answer, err = j.p.settledAnswer(admit, j.key, j.request.Target); err != nil {
			return nil, err
		}
	}
	if answer != nil {
		return j.duplicate(answer), nil
	}
	return j.call(admit, work)
}

func (j *Job) waitTurn(admit context.Context) (*Outcome, error) {
	if j.turn.Waits() {
		waiting := j.p.Metrics.Waiting.WithLabelValues("duplicate")
		waiting.Inc()
		defer waiting.Dec()
	}
	return j.turn.Wait(admit)
}

// duplicate copies the answer of an earlier outcome.
func (j *Job) duplicate(answer *Outcome) *Outcome {
	o := *j.base
	o.Status = StatusDuplicate
	o.CancelledCount, o.Error, o.Ambiguous = answer.CancelledCount, answer.Error, answer.Ambiguous
	o.DuplicateOf = answer.OutcomeID
	return &o
}

// call attempts the cancellation until the API's answer is final or the
// request's limits are reached.
func (j *Job) call(admit, work context.Context) (*Outcome, error) {
	wait := admit
	if deadline := j.request.Deadline; !deadline.IsZero() {
		var cancel context.CancelFunc
		wait, cancel = context.WithDeadline(admit, deadline)
		defer cancel()
	}
	var retry *retries
	var last *Error
	for {
		pass, err := j.admission(wait)
		if j.expired(admit, wait) {
			pass.Done()
			return j.decided(StatusExpired, nil, last), nil
		}
		if err != nil {
			return nil, err
		}
		retry = j.clock(retry, pass.Paused)
		verdict, err := j.attempt(work, pass)
		if err != nil {
			return nil, err
		}
		if !verdict.Retry {
			return j.decided(verdict.Status, verdict.Count, verdict.Err), nil
		}
		last = verdict.Err
		if verdict.RetryAfter > 0 { // the sub-account waits, and the message is not charged
			j.p.Admission.Pause(j.request.SubAccountID, verdict.RetryAfter)
			continue
		}
		delay, ok := retry.next(time.Now())
		if !ok {
			return j.decided(StatusFailed, nil, last), nil
		}
		if err := j.pause(wait, delay); err != nil && !j.expired(admit, wait) {
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
	}
	r.paused += paused
	return r
}

// admission waits until a call may go out: lease and ledger first, so that
// nobody waits for them with a slot in hand.
func (j *Job) admission(ctx context.Context) (admission.Pass, error) {
	var paused time.Duration
	for {
		if err := j.p.Permit.Wait(ctx, j.base.Record.Offset); err != nil {
			return admission.Pass{}, err
		}
		pass, err := j.p.Admission.Wait(ctx, j.ticket())
		if err != nil {
			return admission.Pass{}, err
		}
		pass.Paused += paused
		if j.p.Permit.Holds(j.base.Record.Offset) {
			return pass, nil
		}
		paused = pass.Paused
		pass.Done()
	}
}

// defaultDue is when a request without scheduledAt counts as due, after its
// record's timestamp.
const defaultDue = 10 * time.Minute

// ticket says how urgent the call is. That never changes: who comes back from a
// retry, or without a permit, keeps its place.
func (j *Job) ticket() admission.Ticket {
	t := admission.Ticket{SubAccountID: j.request.SubAccountID, Lane: j.p.Lane, Arrival: j.taken}
	if t.Due, t.Dated = j.request.Deadline, !j.request.Deadline.IsZero(); !t.Dated {
		t.Due = j.timestamp.Add(defaultDue)
	}
	return t
}

// attempt makes one call. Its error is that of a context that ended under it.
func (j *Job) attempt(work context.Context, pass admission.Pass) (Verdict, error) {
	defer pass.Done()
	started := time.Now()
	m := j.p.Metrics
	m.InFlight.Inc()
	v := j.p.Caller.Cancel(work, j.request.Target, j.request.TraceParent, j.request.TraceState)
	m.InFlight.Dec()
	if v.NoCall {
		return v, nil
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
		return v, err
	}
	return v, nil
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

func (j *Job) pause(ctx context.Context, d time.Duration) error {
	waiting := j.p.Metrics.Waiting.WithLabelValues("retry")
	waiting.Inc()
	defer waiting.Dec()
	return Sleep(ctx, d)
}

// expired tells whether the deadline has passed, by the wall clock or, where
// that was set back, by the timer of wait.
func (j *Job) expired(admit, wait context.Context) bool {
	return !j.request.Deadline.IsZero() &&
		(!time.Now().Before(j.request.Deadline) || wait.Err() != nil && admit.Err() == nil)
}

// decided is the outcome of a request that was called, or would have been.
func (j *Job) decided(status Status, count *int, err *Error) *Outcome {
	o := *j.base
	o.Status, o.CancelledCount, o.Error, o.Attempts = status, count, err, j.attempts
	o.Ambiguous = j.open && (status != StatusCancelled || j.request.Batch)
	if !j.first.IsZero() {
		o.FirstAttemptAt = FormatTime(j.first)
	}
	return &o
}

// settle makes the outcome durable, and only then remembers it.
func (j *Job) settle(work context.Context, o *Outcome) (int64, error) {
	now := time.Now()
	o.CompletedAt = FormatTime(now)
	receipt := j.p.Ledger.Append(o)
	if o.Status == StatusDuplicate {
		// The answer is durable already, and the ledger keeps the order of its
		// queue: the next in line need not wait for this copy.
		j.leave(nil)
	}
	offset, err := receipt.Wait(work)
	if err != nil {
		j.open = j.open || j.attempts > 0 // called, and nobody was told how it ended
		return 0, err
	}
	j.remember(o, offset, now)
	j.p.Metrics.Outcome(string(o.Status), string(kind(o.Error)), time.Since(j.timestamp))
	j.log(o)
	return offset, nil
}

func (j *Job) remember(o *Outcome, offset int64, at time.Time) {
	if answer := o.Answer(); answer != dedupe.None {
		id := o.Record
		j.p.Index.Put(j.key, dedupe.Entry{Ledger: offset, Offset: id.Offset, Timestamp: id.Timestamp, Answer: answer}, at)
		j.leave(o)
		return
	}
	if o.Status == StatusFailed && kind(o.Error) == KindNotFound {
		j.leave(o) // only those who wait already: the message may become visible later
		return
	}
	j.leave(nil)
}

func (j *Job) leave(answer *Outcome) {
	if j.turn != nil {
		j.turn.Leave(answer)
	}
}

func (j *Job) log(o *Outcome) {
	j.p.Log.Debug().Str("topic", o.Source.Topic).Int("partition", o.Source.Partition).Int64("offset", o.Source.Offset).
		Str("requestId", o.RequestID).Str("subAccountId", o.SubAccountID).Str("umid", o.UMID).Str("batchId", o.BatchID).
		Str("status", string(o.Status)).Int("attempts", o.Attempts).Str("outcomeId", o.OutcomeID).Msg("outcome")
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

func kind(e *Error) Kind {
	if e == nil {
		return ""
	}
	return e.Kind
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
