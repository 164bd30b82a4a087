package consumer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"smscancel/worker"
)

// book is an outcome topic in memory: one ledger for all request partitions,
// with fences.
type book struct {
	mu      sync.Mutex
	entries []worker.Settled
	owner   []topicPartition // of each entry
	holders map[topicPartition]*pen
	epochs  map[topicPartition]int16

	bounds func(worker.LedgerBounds) worker.LedgerBounds // what the topic's retention did; nil = nothing
	replay func(context.Context) error                   // what a replay waits for; nil = nothing

	trouble atomic.Pointer[error] // what the broker says to every append; nil = nothing
}

const penPID = 7

func newBook() *book {
	return &book{holders: map[topicPartition]*pen{}, epochs: map[topicPartition]int16{}}
}

// Fence implements Outcomes: the former holder can write no more.
func (b *book) Fence(_ context.Context, topic string, partition int) (Ledger, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tp := topicPartition{topic, partition}
	if _, held := b.epochs[tp]; !held {
		b.epochs[tp] = -1 // the first epoch is 0, as in Kafka
	}
	b.epochs[tp]++
	p := &pen{b: b, tp: tp, epoch: b.epochs[tp], failed: make(chan struct{}), end: len(b.entries)}
	if before := b.holders[tp]; before != nil {
		before.fenced = true
	}
	b.holders[tp] = p
	return p, nil
}

// Check implements Outcomes.
func (b *book) Check(context.Context) error { return nil }

// Bounds implements Outcomes.
func (b *book) Bounds(context.Context, int, time.Time) (worker.LedgerBounds, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := worker.LedgerBounds{End: int64(len(b.entries)), Since: int64(len(b.entries))}
	if b.bounds != nil {
		all = b.bounds(all)
	}
	return all, nil
}

// settle writes an outcome as an earlier owner would have.
func (b *book) settle(tp topicPartition, rec *worker.Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.write(tp, worker.Settled{Record: rec.ID()})
}

func (b *book) write(tp topicPartition, s worker.Settled) int64 {
	s.Ledger, s.At = int64(len(b.entries)), time.Now()
	b.entries, b.owner = append(b.entries, s), append(b.owner, tp)
	return s.Ledger
}

// outcomes counts the outcomes of each request offset of a partition.
func (b *book) outcomes(tp topicPartition) map[int64]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := map[int64]int{}
	for i, e := range b.entries {
		if b.owner[i] == tp {
			found[e.Record.Offset]++
		}
	}
	return found
}

func (b *book) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.entries)
}

func (b *book) epoch(tp topicPartition) int16 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.epochs[tp]
}

// pen is one fenced hold on a book.
type pen struct {
	b      *book
	tp     topicPartition
	epoch  int16
	end    int
	fenced bool // guarded by book.mu
	failed chan struct{}
	once   sync.Once
}

type written struct {
	offset int64
	err    error
}

// Wait implements worker.Receipt.
func (w written) Wait(context.Context) (int64, error) { return w.offset, w.err }

var errTaken = fmt.Errorf("append: %w", worker.ErrFenced)

// Append implements worker.Ledger.
func (p *pen) Append(o *worker.Outcome) worker.Receipt {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if p.fenced {
		p.once.Do(func() { close(p.failed) })
		return written{err: errTaken}
	}
	target := worker.Target{SubAccountID: o.SubAccountID, ID: string(o.Key)}
	return written{offset: p.b.write(p.tp, worker.Settled{Record: o.Record, Target: target, Answer: o.Answer()})}
}

// Replay implements Ledger.
func (p *pen) Replay(ctx context.Context, from int64, visit func(worker.Settled), _ func(at, end int64)) error {
	if p.b.replay != nil {
		if err := p.b.replay(ctx); err != nil {
			return err
		}
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	for i := int(from); i < p.end; i++ {
		if p.b.owner[i] == p.tp {
			visit(p.b.entries[i])
		}
	}
	return nil
}

// Next implements Ledger.
func (p *pen) Next() int64 { return int64(p.b.len()) }

// Err implements Ledger.
func (p *pen) Err() error { return errTaken }

// Identity implements Ledger.
func (p *pen) Identity() (int64, int16) { return penPID, p.epoch }

// Failed implements Ledger.
func (p *pen) Failed() <-chan struct{} { return p.failed }

func (p *pen) Read(context.Context, int64) (*worker.Outcome, error) { return nil, nil }
func (p *pen) Proven() time.Duration                                { return 0 }
func (p *pen) Prove(context.Context) error                          { return nil }
func (p *pen) Stalled() time.Duration                               { return 0 }
func (p *pen) Close()                                               {}

// Trouble implements Ledger.
func (p *pen) Trouble() error {
	if err := p.b.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// replayStart notes where a replay began.
type replayStart struct {
	Ledger
	from int64
}

// Replay implements Ledger.
func (r *replayStart) Replay(ctx context.Context, from int64, visit func(worker.Settled), progress func(at, end int64)) error {
	r.from = from
	return r.Ledger.Replay(ctx, from, visit, progress)
}
