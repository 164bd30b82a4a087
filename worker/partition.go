package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"smscancel/worker/admission"
	"smscancel/worker/dedupe"
	"smscancel/worker/metrics"
	"smscancel/worker/policy"
	"smscancel/worker/status"
)

// Caller makes one attempt at a cancellation and judges its answer.
type Caller interface {
	Cancel(ctx context.Context, call Call) Verdict
}

// Call is one attempt that is to be made. It can take long until its connection
// stands, and much may have changed by then: so it is looked at again, and called
// off without a trace if it must not go out any more.
type Call struct {
	Target      Target
	TraceParent string // handed on to the API, as TraceState is; both may be empty
	TraceState  string
	Resend      int // attempts of the same request before this one

	// Wanted calls the attempt off when it ends while no connection stands; nil = never.
	Wanted context.Context
	// Confirm is asked when the connection stands, right before the first byte; ctx
	// is over with the attempt's time, and with Wanted. False calls it off; nil = yes.
	Confirm func(ctx context.Context) bool
}

// ErrFenced is what a ledger's errors wrap when another writer took it over.
var ErrFenced = errors.New("fenced by another writer of this source")

// ErrNotPermitted is what a ledger's errors wrap while an ACL is missing.
var ErrNotPermitted = errors.New("not permitted")

// PartitionCountError says that the outcome topic has another partition count
// than the outcomes in it were written with: a request partition's outcomes
// would not be where they are looked for.
type PartitionCountError struct {
	Topic   string
	Was, Is int
}

func (e *PartitionCountError) Error() string {
	return fmt.Sprintf("outcome topic %s has %d partitions, its outcomes were written with %d: "+
		"stop the group cleanly and use a new outcome topic", e.Topic, e.Is, e.Was)
}

// Ledger is where outcomes become durable.
type Ledger interface {
	// Append queues an outcome. Outcomes become durable in the order of the calls.
	Append(o *Outcome) Receipt
	// Read returns the outcome at an offset of the ledger, nil if it is gone.
	Read(ctx context.Context, offset int64) (*Outcome, error)
}

// Receipt is the promise of a durable outcome.
type Receipt interface {
	// Wait returns the ledger offset of the outcome once it is durable.
	Wait(ctx context.Context) (int64, error)
}

// Permit says whether a call for a record may start: its lease is durable and
// the ledger is ours and in reach.
type Permit interface {
	Wait(ctx context.Context, offset int64) error
	// Holds is the same question at the moment of sending, without waiting.
	Holds(offset int64) bool
}

// Handler is what all partitions of a process share.
type Handler struct {
	Parser    Parser
	Caller    Caller
	Admission *admission.Admission
	Policy    *policy.Policy // nil = nothing is held back
	Retry     RetryPolicy
	AuthHold  time.Duration // how long a request may wait for a better key; 0 = not at all
	Hasher    *dedupe.Hasher
	Metrics   *metrics.Metrics
	Recent    *status.Recent
	Tally     *status.Tally
	Tracing   Tracing
	Log       zerolog.Logger

	mu      sync.Mutex
	arrived time.Time // the last record
}

// arrive is now, and later than for every record before.
func (h *Handler) arrive() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if !now.After(h.arrived) {
		now = h.arrived.Add(1)
	}
	h.arrived = now
	return now
}

// Partition handles the records of one source partition while this process
// holds its ledger.
type Partition struct {
	*Handler
	ClusterID string
	Topic     string
	Partition int
	Lane      int // of the topic; 0 has the highest priority
	Ledger    Ledger
	Permit    Permit
	Index     *dedupe.Index

	// Inherited is what is left of the lease found at the takeover: a record at or
	// below it may have been called by an earlier owner whose outcome will not
	// come. It changes only between calls of Begin.
	Inherited int64

	claims *dedupe.Claims[Outcome]
	paused *atomic.Int64
}

// Settled is what a replay learns from one outcome of the ledger.
type Settled struct {
	Record RecordID
	Target Target // with the id in lower case
	Answer dedupe.Answer
	Ledger int64     // offset of the outcome
	At     time.Time // of the outcome record
}

// LedgerBounds is where the replay of a request partition's ledger may begin.
type LedgerBounds struct {
	First  int64     // first offset that is kept; above 0 older outcomes were deleted
	Since  int64     // first offset at or after the asked time; End if there is none
	End    int64     // offset of the next record
	Oldest time.Time // of the record at First; zero if there is none
}

// Open makes p ready to handle records. Its fields are set by then.
func (p *Partition) Open() { p.claims, p.paused = dedupe.NewClaims[Outcome](), new(atomic.Int64) }

// Paused is how many records in hand wait behind the operator's pause.
func (p *Partition) Paused() int { return int(p.paused.Load()) }

// Remember puts a replayed outcome into the index.
func (p *Partition) Remember(s Settled) {
	if s.Answer == dedupe.None {
		return
	}
	p.Index.Put(dedupe.Key128(p.Hasher, s.Target), dedupe.Entry{
		Ledger: s.Ledger, Offset: s.Record.Offset, Timestamp: s.Record.Timestamp, Answer: s.Answer,
	}, s.At)
}

// Answer is the code under which the index keeps an outcome.
func (o *Outcome) Answer() dedupe.Answer {
	switch {
	case !o.AnswersDuplicates():
		return dedupe.None
	case o.Ambiguous || o.CancelledCount == nil || o.Error != nil:
		return dedupe.ReadBack
	case *o.CancelledCount == 0:
		return dedupe.NotCancelled
	case *o.CancelledCount == 1:
		return dedupe.CancelledOne
	}
	return dedupe.ReadBack
}

// settledAnswer looks up what an earlier outcome in the ledger answers to a request.
func (p *Partition) settledAnswer(ctx context.Context, key dedupe.Key, target Target) (*Outcome, error) {
	e, ok := p.Index.Get(key, time.Now())
	if !ok {
		return nil, nil
	}
	if e.Answer != dedupe.ReadBack {
		count := int(e.Answer - dedupe.NotCancelled)
		return &Outcome{
			OutcomeID:      OutcomeID(p.ClusterID, p.Topic, p.Partition, e.Offset, time.UnixMilli(e.Timestamp)),
			CancelledCount: &count,
		}, nil
	}
	o, err := p.Ledger.Read(ctx, e.Ledger)
	if err != nil {
		return nil, err
	}
	if o == nil || o.target().Identity() != target.Identity() || o.Source.Topic != p.Topic || o.Source.Partition != p.Partition {
		p.Index.Forget(key, e.Ledger)
		return nil, nil
	}
	return o, nil
}

func (o *Outcome) target() Target {
	if o.BatchID != "" {
		return Target{SubAccountID: o.SubAccountID, ID: o.BatchID, Batch: true}
	}
	return Target{SubAccountID: o.SubAccountID, ID: o.UMID}
}
