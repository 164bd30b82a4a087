package producer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"smscancel/worker"
)

const (
	// keepAlive is how often an idle writer repeats the empty transaction: the
	// broker forgets a transactional id after 7 days and a producer's sequence
	// after 1 day without a sign of life.
	keepAlive = time.Hour
	// maxSilence is when a writer no longer trusts the broker to remember it,
	// for example after the machine slept: half of the shorter memory.
	maxSilence = 12 * time.Hour

	maxBatchRecords = 5000
)

// Writer is this process's fenced hold on the ledger of one request partition.
// It appends outcomes with one idempotent batch in flight: whatever arrives
// meanwhile forms the next batch.
type Writer struct {
	ledger *Ledger
	source source
	coord  coordination
	log    zerolog.Logger

	stop   context.CancelCauseFunc // ends everything, with the reason
	ctx    context.Context
	exited chan struct{}

	mu     sync.Mutex
	queue  []*pending
	probes []chan error
	wake   chan struct{} // capacity 1

	proven    atomic.Pointer[time.Time] // when the last acknowledged write was sent
	trouble   atomic.Pointer[error]     // of the last try of the batch in hand; nil = none
	unacked   atomic.Int64              // when the oldest unacknowledged append was queued, ns since birth; 0 = none
	birth     time.Time                 // monotonic
	next      atomic.Int64              // ledger offset below which everything of ours is acknowledged
	sequence  int32
	ambiguous bool // an earlier try of the batch in hand may have been written
}

// Fence takes the source over and returns its only writer. Replay comes next,
// Append after that. ctx bounds the takeover, not the writer.
func (l *Ledger) Fence(ctx context.Context, topic string, partition int) (*Writer, error) {
	s := l.source(topic, partition)
	w := &Writer{
		ledger: l, source: s, birth: time.Now(),
		coord: coordination{client: l.Client, txID: l.TransactionalID(topic, partition), topic: l.Topic, ledger: s.ledger},
		wake:  make(chan struct{}, 1), exited: make(chan struct{}),
	}
	sent := time.Now()
	if err := w.coord.fence(ctx); err != nil {
		return nil, fmt.Errorf("fence %s/%d: %w", topic, partition, err)
	}
	w.proven.Store(&sent)
	w.log = l.Log.With().Str("topic", topic).Int("partition", partition).
		Int("producerId", w.coord.pid).Int("epoch", w.coord.epoch).Logger()
	w.ctx, w.stop = context.WithCancelCause(context.Background())
	go w.run()
	return w, nil
}

// Identity is the producer id and epoch that the fence gave this writer.
func (w *Writer) Identity() (pid int64, epoch int16) { return int64(w.coord.pid), int16(w.coord.epoch) }

// Failed is closed when the writer can write no more; Err then says why.
func (w *Writer) Failed() <-chan struct{} { return w.ctx.Done() }

// Err is why the writer ended: one of the Err values of this package, wrapped.
func (w *Writer) Err() error { return context.Cause(w.ctx) }

// Close ends the writer. Outcomes that are not durable yet get ErrClosed; their
// true fate is for the next takeover's replay to find out.
func (w *Writer) Close() {
	w.stop(ErrClosed)
	<-w.exited
}

// Proven is how long ago the last write was sent that the broker acknowledged:
// at that moment nobody had fenced this writer.
func (w *Writer) Proven() time.Duration { return worker.Age(*w.proven.Load()) }

// Stalled is how long the oldest append has waited for its acknowledgement.
func (w *Writer) Stalled() time.Duration {
	if since := w.unacked.Load(); since != 0 {
		return time.Duration(w.now() - since)
	}
	return 0
}

// Trouble is why the append in flight was not acknowledged at the last try; nil
// if it is the first, or none is in flight.
func (w *Writer) Trouble() error {
	if err := w.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// Next is a ledger offset below which every outcome that this writer still has
// to write will not be: the place where a later replay may start for them.
func (w *Writer) Next() int64 { return w.next.Load() }

func (w *Writer) now() int64 { return int64(time.Since(w.birth)) + 1 }

// Append queues an outcome; outcomes become durable in the order of the calls.
func (w *Writer) Append(o *worker.Outcome) worker.Receipt {
	p := &pending{outcome: o, queued: time.Now(), done: make(chan struct{})}
	if err := w.encode(p); err != nil {
		p.resolve(0, err)
		return p
	}
	w.mu.Lock()
	if w.ctx.Err() != nil {
		w.mu.Unlock()
		p.resolve(0, w.Err())
		return p
	}
	w.queue = append(w.queue, p)
	w.unacked.CompareAndSwap(0, w.now())
	w.mu.Unlock()
	w.nudge()
	return p
}

// Wait returns the ledger offset of the outcome once it is durable.
func (p *pending) Wait(ctx context.Context) (int64, error) {
	select {
	case <-p.done:
		return p.offset, p.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Prove finds out whether this writer still owns the ledger, by an empty
// transaction in turn with the appends.
func (w *Writer) Prove(ctx context.Context) error {
	answer := make(chan error, 1)
	w.mu.Lock()
	w.probes = append(w.probes, answer)
	w.mu.Unlock()
	w.nudge()
	select {
	case err := <-answer:
		return err
	case <-w.ctx.Done():
		return w.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// probeAgain repeats a probe that nobody waits for.
func (w *Writer) probeAgain() {
	w.mu.Lock()
	w.probes = append(w.probes, make(chan error, 1))
	w.mu.Unlock()
	w.nudge()
}

func (w *Writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run is the only user of the producer id: batches and empty transactions take turns.
func (w *Writer) run() {
	defer close(w.exited)
	defer w.abandon()
	idle := time.NewTicker(keepAlive)
	defer idle.Stop()
	for {
		select {
		case <-w.ctx.Done():
			return
		case <-w.wake:
		case <-idle.C:
			w.prove(nil)
		}
		for w.ctx.Err() == nil {
			batch, probes := w.take()
			if len(batch) == 0 && len(probes) == 0 {
				break
			}
			if len(probes) > 0 {
				w.prove(probes)
			}
			if len(batch) > 0 {
				w.write(batch)
			}
		}
	}
}

// take removes the next batch and all probes from the queue.
func (w *Writer) take() ([]*pending, []chan error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	probes := w.probes
	w.probes = nil
	limit, n, size := w.ledger.maxBatch(), 0, batchHeader
	for n < len(w.queue) && n < maxBatchRecords {
		size += w.queue[n].size
		if n > 0 && size > limit {
			break
		}
		n++
	}
	batch := w.queue[:n:n]
	w.queue = w.queue[n:]
	return batch, probes
}

// abandon answers everybody who still waits.
func (w *Writer) abandon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.queue {
		p.resolve(0, w.Err())
	}
	w.queue = nil
}

func (w *Writer) prove(probes []chan error) {
	sent := time.Now()
	ctx, cancel := context.WithTimeout(w.ctx, requestTimeout)
	defer cancel()
	err := w.coord.emptyTransaction(ctx)
	switch {
	case err == nil:
		w.proven.Store(&sent)
	case ctx.Err() == nil:
		w.stop(err) // a definite answer; without one it is only not proven
	default:
		// The transaction may be open, and the coordinator would abort it with a
		// new epoch, which fences us: finish it as soon as can be.
		time.AfterFunc(time.Second, w.probeAgain)
	}
	for _, answer := range probes {
		answer <- err
	}
}

// write makes a batch durable and resolves its outcomes, or ends the writer.
func (w *Writer) write(batch []*pending) {
	base, err := w.send(batch)
	if tooLarge(err) {
		w.split(batch)
		return
	}
	if err == nil && base < w.next.Load() {
		err = fmt.Errorf("%w: appended at offset %d, below %d", ErrOtherLedger, base, w.next.Load())
	}
	if err != nil {
		w.fail(batch, err)
		return
	}
	w.sequence = nextSequence(w.sequence, len(batch))
	w.next.Store(base + int64(len(batch)))
	w.acknowledged()
	for i, p := range batch {
		p.resolve(base+int64(i), nil)
	}
}

// acknowledged moves the age of the oldest unacknowledged append on.
func (w *Writer) acknowledged() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.unacked.Store(0)
		return
	}
	w.unacked.Store(w.since(w.queue[0]))
}

// since is when an outcome was queued, in the terms of unacked.
func (w *Writer) since(p *pending) int64 { return int64(p.queued.Sub(w.birth)) + 1 }

// split deals with a batch that the topic finds too large: halves, or a smaller
// outcome. The sequence is free again only if no try of it may have been written.
func (w *Writer) split(batch []*pending) {
	if w.ambiguous {
		w.fail(batch, fmt.Errorf("%w: batch too large after a try of unknown end", ErrStateLost))
		return
	}
	if len(batch) > 1 {
		w.ledger.tooMuch(batch)
		half := len(batch) / 2
		w.write(batch[:half])
		if err := w.Err(); err != nil {
			w.fail(batch[half:], err)
			return
		}
		w.unacked.Store(w.since(batch[half])) // it waits, though not in the queue
		w.write(batch[half:])
		return
	}
	p := batch[0]
	w.log.Warn().Int64("offset", p.outcome.Record.Offset).Str("outcomeId", p.outcome.OutcomeID).Int("bytes", p.size).
		Msg("outcome too large for the topic's max.message.bytes; leaving out source.value or metadata")
	p.outcome = p.outcome.Shrunk()
	if err := w.encode(p); err != nil {
		w.fail(batch, err)
		return
	}
	w.write(batch)
}

// fail ends the writer and tells those whose outcomes were not written, or not
// for certain.
func (w *Writer) fail(batch []*pending, err error) {
	w.stop(err)
	for _, p := range batch {
		p.resolve(0, err)
	}
}

// send repeats one batch, byte for byte, until the broker's answer is definite,
// and returns its base offset.
func (w *Writer) send(batch []*pending) (int64, error) {
	raw, err := encodeBatch(recordsOf(batch), int64(w.coord.pid), int16(w.coord.epoch), w.sequence)
	if err != nil {
		return 0, err
	}
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(5*time.Millisecond),
		backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(0))
	w.ambiguous = false
	patience := requestTimeout
	for tries := 1; ; tries++ {
		if w.Proven() > maxSilence {
			return 0, fmt.Errorf("%w: silent for %s", ErrStateLost, w.Proven().Round(time.Second))
		}
		sent := time.Now()
		base, err := w.produce(raw, patience)
		if err == nil {
			w.proven.Store(&sent)
			w.trouble.Store(nil)
			if tries > 1 {
				w.log.Info().Int("tries", tries).Int("records", len(batch)).Msg("outcomes are written again")
			}
			return base, nil
		}
		if err = w.setback(batch, len(raw), tries, err); err != nil {
			return 0, err
		}
		if time.Since(sent) >= patience {
			patience = min(2*patience, requestTimeout+time.Duration(len(raw))*time.Second/slowest)
		}
		if worker.Sleep(w.ctx, pause.NextBackOff()) != nil {
			return 0, w.Err()
		}
	}
}

// setback judges a try that failed: nil means that the same bytes are to be tried
// again. So they are for want of a permission or of room for an outcome from which
// nothing can be left out: the outcomes wait, and no call starts meanwhile.
func (w *Writer) setback(batch []*pending, bytes, tries int, err error) error {
	if tooLarge(err) {
		if w.ambiguous || divisible(batch) {
			return err
		}
		err = fmt.Errorf("an outcome of %d bytes without value and metadata is too large for topic %s: raise its max.message.bytes: %w",
			bytes, w.ledger.Topic, err)
	}
	failure := terminal(err)
	if errors.Is(failure, worker.ErrNotPermitted) {
		err, failure = fmt.Errorf("write to topic %s: %w", w.ledger.Topic, failure), nil
	}
	trouble := err // err goes on changing
	w.trouble.Store(&trouble)
	if tries == 1 && w.ctx.Err() == nil {
		w.log.Warn().Err(err).Int("records", len(batch)).Msg("outcomes not written yet, trying again")
	}
	if errors.Is(err, kafka.InvalidTransactionState) { // one of our own empty transactions is still open
		err = w.coord.endTransaction(w.ctx)
		failure = terminal(err)
	}
	if w.ctx.Err() != nil {
		return errors.Join(err, w.Err())
	}
	w.ambiguous = w.ambiguous || !refused(err)
	return failure
}
