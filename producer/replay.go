package producer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/consumer/records"
	"smscancel/worker"
)

const (
	replayFetch = 2 << 20 // bytes of one fetch; two are in memory for each partition
	replayWait  = 500 * time.Millisecond

	// replayPatience is how long the fence may stay invisible at the end of the
	// log: a new leader knows the high watermark a little later.
	replayPatience = 20 * time.Second
)

// Replay visits the outcomes of this writer's source from a ledger offset to
// the fence: the marker that carries this writer's own epoch. What an older
// writer appended stands before it, and it can append nothing behind it.
// progress is told how far the replay is, in ledger records.
func (w *Writer) Replay(ctx context.Context, from int64, visit func(worker.Settled), progress func(at, end int64)) error {
	end, err := w.ledger.Records.Latest(ctx, w.ledger.Topic, w.source.ledger)
	if err != nil {
		return err
	}
	if from > end {
		return fmt.Errorf("%w: replay from offset %d, the end is %d", ErrOtherLedger, from, end)
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &replay{Writer: w, visit: visit, end: end}
	defer r.wait()
	defer cancel()
	progressed := time.Now()
	for at := from; ; {
		page, err := r.fetch(ctx, at)
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		fence, err := r.page(page)
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		if fence >= 0 {
			progress(end-from, end-from)
			w.next.Store(fence + 1)
			return nil
		}
		if page.NextOffset > at {
			progressed = time.Now()
		} else if time.Since(progressed) > replayPatience {
			return fmt.Errorf("%w: the fence is not in the log, which ends at %d", ErrOtherLedger, page.HighWatermark)
		}
		at = page.NextOffset
		page.Release()
		progress(min(at, end)-from, end-from)
	}
}

// replay is a replay under way.
type replay struct {
	*Writer
	visit   func(worker.Settled)
	end     int64 // of the ledger, as it was at the beginning
	entries entryReader
	memory  records.Memory
	ahead   chan fetched // the page after the one in hand; nil = was not asked for
}

type fetched struct {
	page *records.Page
	err  error
}

// fetch returns the page at an offset, and asks for the one after it: that is on
// its way while this one is read.
func (r *replay) fetch(ctx context.Context, at int64) (*records.Page, error) {
	var got fetched
	if r.ahead != nil {
		got = <-r.ahead
		r.ahead = nil
	} else {
		got = r.ask(ctx, at)
	}
	if page := got.page; got.err == nil && page.NextOffset > at && page.NextOffset < r.end { // else the fence may be in it, and the log end there
		r.ahead = make(chan fetched, 1)
		go func() { r.ahead <- r.ask(ctx, page.NextOffset) }()
	}
	return got.page, got.err
}

func (r *replay) ask(ctx context.Context, at int64) fetched {
	page, err := r.ledger.Records.Fetch(ctx, records.FetchRequest{
		Topic: r.ledger.Topic, Partition: r.source.ledger, Offset: at, MaxBytes: replayFetch, MinBytes: 1, MaxWait: replayWait, Memory: &r.memory,
	})
	return fetched{page, err}
}

// wait returns when nothing is on its way any more.
func (r *replay) wait() {
	if r.ahead != nil {
		<-r.ahead
	}
}

// page visits the outcomes of one page and returns the offset of the fence if it
// stands there, else -1.
func (r *replay) page(page *records.Page) (int64, error) {
	pid, epoch := r.Identity()
	for b, err := range page.Batches() {
		switch {
		case err != nil:
			return -1, err
		case b.Control && b.ProducerID == pid && b.ProducerEpoch == epoch:
			return b.LastOffset, nil
		case b.Control || b.Transactional: // nothing that this project wrote
			continue
		}
		if err := r.batch(&b); err != nil {
			return -1, err
		}
	}
	return -1, nil
}

func (r *replay) batch(b *records.Batch) error {
	read := 0
	defer func() { r.ledger.Metrics.Replayed.Add(float64(read)) }()
	for rec, err := range b.Records() {
		if err != nil {
			return err
		}
		read++
		header, ok := rec.Headers.Get(entryHeader)
		if !ok {
			continue
		}
		e, err := r.entries.parse(header, rec.Key)
		if err != nil {
			return fmt.Errorf("outcome at offset %d: %w", rec.Offset, err) // leaving it out could settle a request twice
		}
		if e.partitions != r.ledger.Partitions {
			return &worker.PartitionCountError{Topic: r.ledger.Topic, Was: e.partitions, Is: r.ledger.Partitions}
		}
		if e.partition == r.source.partition && string(e.topic) == r.source.topic {
			r.visit(e.settled(rec.Offset, time.UnixMilli(rec.Timestamp)))
		}
	}
	return nil
}

// Read returns the outcome at an offset of the ledger, nil if it is gone. It
// tries until ctx ends.
func (w *Writer) Read(ctx context.Context, offset int64) (*worker.Outcome, error) {
	for {
		o, err := w.read(ctx, offset)
		if err == nil || ctx.Err() != nil {
			return o, err
		}
		w.log.Warn().Err(err).Int64("ledgerOffset", offset).Msg("outcome not read back yet, trying again")
		if err := worker.Sleep(ctx, time.Second); err != nil {
			return nil, err
		}
	}
}

func (w *Writer) read(ctx context.Context, offset int64) (*worker.Outcome, error) {
	page, err := w.ledger.Records.Fetch(ctx, records.FetchRequest{
		Topic: w.ledger.Topic, Partition: w.source.ledger, Offset: offset, MaxBytes: 1, MaxWait: replayWait,
	})
	if errors.Is(err, kafka.OffsetOutOfRange) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the outcome back: %w", err)
	}
	for rec, err := range page.Records() {
		if err != nil {
			return nil, fmt.Errorf("read the outcome back: %w", err)
		}
		if rec.Offset != offset { // it was deleted
			return nil, nil
		}
		o, err := worker.DecodeOutcome(rec.Value)
		if err != nil {
			w.log.Warn().Err(err).Int64("ledgerOffset", offset).Msg("outcome cannot be read; its duplicates are called again")
			return nil, nil
		}
		return o, nil
	}
	if page.LogStartOffset > offset || page.NextOffset > offset {
		return nil, nil
	}
	return nil, fmt.Errorf("read the outcome back: offset %d is not readable yet", offset) // a new leader
}
