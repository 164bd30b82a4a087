package worker

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"smscancel/worker/dedupe"
	"smscancel/worker/policy"
)

// Job is one record, read and then taken in hand. It keeps nothing of the record's bytes.
type Job struct {
	p         *Partition
	base      *Outcome // everything but the result; complete for a rejected record
	timestamp time.Time
	request   *Request // nil when rejected
	key       dedupe.Key
	turn      *dedupe.Turn[Outcome] // nil when rejected
	taken     time.Time
	span      trace.Span    // nil = not traced
	inLine    time.Duration // paused by the operator while it waited in line

	stage    atomic.Uint32
	open     bool // a call may have taken effect without its answer reaching us
	attempts int
	first    time.Time     // of the first attempt
	held     time.Duration // behind a hold of the key
}

// Read reads a record, and takes nothing in hand yet.
func (p *Partition) Read(rec *Record) *Job {
	j := &Job{p: p, timestamp: rec.Timestamp}
	req, err := p.Parser.Parse(rec)
	var rejection *Rejection
	if errors.As(err, &rejection) {
		j.base = RejectedOutcome(rec, rejection, p.ClusterID)
		return j
	}
	j.base = NewOutcome(rec, req, p.ClusterID)
	j.request = req
	return j
}

// Begin takes the record in hand. Call it in the order of offsets: the order in
// which the records of one message are handled is fixed here.
func (j *Job) Begin() {
	p := j.p
	j.taken, j.open = p.arrive(), j.base.Record.Offset <= p.Inherited
	j.startSpan()
	p.Metrics.Requests.WithLabelValues(j.base.Source.Topic).Inc()
	if j.request != nil {
		j.key = dedupe.Key128(p.Hasher, j.request.Target.Identity())
		j.turn = p.claims.Enter(j.key, j.request.Force)
	}
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
		j.endSpan(nil, err)
		return 0, err
	}
	j.at(stageOutcome)
	offset, err := j.settle(work, o)
	j.endSpan(o, err)
	return offset, err
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
	wait, cancel := j.untilDeadline(admit)
	defer cancel()
	answer, err := j.waitTurn(admit)
	if err == nil { // or the one before was handed back, which may be known here first
		err = cmp.Or(admit.Err(), work.Err())
	}
	switch {
	case errors.Is(err, policy.ErrWithdrawn):
		return j.withdrawn(nil), nil
	case err != nil:
		return nil, err
	case j.request.Force:
		return j.call(admit, wait, work)
	case answer == nil:
		if answer, err = j.p.settledAnswer(admit, j.key, j.request.Target); err != nil {
			return nil, err
		}
	}
	if answer != nil { // also past the deadline: it was answered before
		return j.duplicate(answer), nil
	}
	return j.call(admit, wait, work)
}

// untilDeadline ends with ctx, and when the request expires.
func (j *Job) untilDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if j.request.Deadline.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, j.request.Deadline)
}

// duplicate copies the answer of an earlier outcome.
func (j *Job) duplicate(answer *Outcome) *Outcome {
	o := *j.base
	o.Status = StatusDuplicate
	o.CancelledCount, o.Error, o.Ambiguous = answer.CancelledCount, answer.Error, answer.Ambiguous
	o.DuplicateOf = answer.OutcomeID
	return &o
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
	j.p.Tally.Add(string(o.Status), o.CampaignID, o.Ambiguous)
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

func kind(e *Error) Kind {
	if e == nil {
		return ""
	}
	return e.Kind
}
