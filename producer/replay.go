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
	replayFetch = 8 << 20 // bytes of one fetch
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
	progressed := time.Now()
	for at := from; ; {
		page, err := w.ledger.Records.Fetch(ctx, records.FetchRequest{
			Topic: w.ledger.Topic, Partition: w.source.ledger, Offset: at, MaxBytes: replayFetch, MinBytes: 1, MaxWait: replayWait,
		})
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		fence, err := w.replayPage(page, visit)
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
		progress(min(at, end)-from, end-from)
	}
}

// replayPage visits the outcomes of one page and returns the offset of the
// fence if it stands there, else -1.
func (w *Writer) replayPage(page *records.Page, visit func(worker.Settled)) (int64, error) {
	pid, epoch := w.Identity()
	for b, err := range page.Batches() {
		switch {
		case err != nil:
			return -1, err
		case b.Control && b.ProducerID == pid && b.ProducerEpoch == epoch:
			return b.LastOffset, nil
		case b.Control || b.Transactional: // nothing that this project wrote
			continue
		}
		if err := w.replayBatch(&b, visit); err != nil {
			return -1, err
		}
	}
	return -1, nil
}

func (w *Writer) replayBatch(b *records.Batch, visit func(worker.Settled)) error {
	read := 0
	defer func() { w.ledger.Metrics.Replayed.Add(float64(read)) }()
	for rec, err := range b.Records() {
		if err != nil {
			return err
		}
		read++
		header, ok := rec.Headers.Get(entryHeader)
		if !ok {
			continue
		}
		e, err := parseEntry(header, rec.Key)
		if err != nil {
			return fmt.Errorf("outcome at offset %d: %w", rec.Offset, err) // leaving it out could settle a request twice
		}
		if e.partitions != w.ledger.Partitions {
			return &worker.PartitionCountError{Topic: w.ledger.Topic, Was: e.partitions, Is: w.ledger.Partitions}
		}
		if e.partition == w.source.partition && string(e.topic) == w.source.topic {
			visit(e.settled(rec.Offset, time.UnixMilli(rec.Timestamp)))
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
