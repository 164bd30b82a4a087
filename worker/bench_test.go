package worker

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"smscancel/worker/admission"
	"smscancel/worker/dedupe"
	"smscancel/worker/metrics"
	"smscancel/worker/status"
)

// ledgerStub is a ledger in memory whose appends can be held back.
type ledgerStub struct {
	mu       sync.Mutex
	outcomes []*Outcome
	hold     chan struct{} // appends become durable when it is closed; nil = at once
	fail     error
}

type receipt struct {
	l      *ledgerStub
	offset int64
}

func (l *ledgerStub) Append(o *Outcome) Receipt {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcomes = append(l.outcomes, o)
	return receipt{l, int64(len(l.outcomes) - 1)}
}

func (r receipt) Wait(ctx context.Context) (int64, error) {
	if r.l.fail != nil {
		return 0, r.l.fail
	}
	if r.l.hold != nil {
		select {
		case <-r.l.hold:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return r.offset, nil
}

func (l *ledgerStub) Read(_ context.Context, offset int64) (*Outcome, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset >= int64(len(l.outcomes)) {
		return nil, nil
	}
	return l.outcomes[offset], nil
}

type callerFunc func(ctx context.Context, t Target) Verdict

func (f callerFunc) Cancel(ctx context.Context, c Call) Verdict { return f(ctx, c.Target) }

type permitAll struct{}

func (permitAll) Wait(ctx context.Context, _ int64) error { return ctx.Err() }
func (permitAll) Holds(int64) bool                        { return true }

var (
	errRefused  = Verdict{Status: StatusFailed, Err: &Error{Kind: KindInvalidRequest, HTTPStatus: 400, Code: ptr(1000), ErrorID: "e"}}
	errNotFound = Verdict{Status: StatusFailed, Err: &Error{Kind: KindNotFound, HTTPStatus: 404, Code: ptr(1300)}}
	errServer   = Verdict{Retry: true, Open: true, Err: &Error{Kind: KindServerError, HTTPStatus: 500}}
	err503      = Verdict{Retry: true, Err: &Error{Kind: KindServerError, HTTPStatus: 503}}
)

func cancelled(n int) Verdict {
	if n == 0 {
		return Verdict{Status: StatusNotCancelled, Count: &n}
	}
	return Verdict{Status: StatusCancelled, Count: &n}
}

// bench is a partition under test.
type bench struct {
	*Partition
	ledger *ledgerStub
	admit  context.Context
	work   context.Context
	next   int64
}

func newBench(t *testing.T, caller callerFunc) *bench {
	t.Helper()
	a := admission.New(admission.Config{Concurrency: 100, RetryAfterMax: 5 * time.Minute})
	b := &bench{ledger: &ledgerStub{}, admit: t.Context(), work: t.Context()}
	b.Partition = &Partition{
		Handler: &Handler{
			Caller: caller, Admission: a, Hasher: dedupe.NewHasher(), Metrics: metrics.New(), Recent: &status.Recent{}, Tally: status.NewTally(),
			Retry: RetryPolicy{Initial: 500 * time.Millisecond, MaxInterval: 30 * time.Second, MaxElapsed: 15 * time.Minute},
		},
		ClusterID: "c", Topic: "requests", Ledger: b.ledger, Permit: permitAll{}, Index: dedupe.NewIndex(time.Hour), Inherited: -1,
	}
	b.Open()
	return b
}

// take reads a record and takes it in hand.
func (b *bench) take(rec *Record) *Job {
	j := b.Read(rec)
	j.Begin()
	return j
}

// begin takes a request in hand.
func (b *bench) begin(fields map[string]any) *Job {
	if _, ok := fields["subAccountId"]; !ok {
		fields["subAccountId"] = "sub-1"
	}
	value, _ := json.Marshal(fields)
	rec := &Record{Topic: "requests", Offset: b.next, Timestamp: time.Now(), Value: value}
	b.next++
	return b.take(rec)
}

// send begins a request and runs it in the background.
func (b *bench) send(fields map[string]any) <-chan *Outcome {
	job := b.begin(fields)
	done := make(chan *Outcome, 1)
	go func() {
		defer close(done)
		offset, err := job.Run(b.admit, b.work)
		if err != nil {
			job.Abandon()
			return
		}
		o, _ := b.ledger.Read(b.work, offset)
		done <- o
	}()
	return done
}

func (b *bench) do(fields map[string]any) *Outcome { return <-b.send(fields) }
