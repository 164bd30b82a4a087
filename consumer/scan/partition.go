package scan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/consumer/records"
)

const (
	maxFetches = 16       // at once, up to the ends
	fetchBytes = 1 << 20  // of a partition
	allBytes   = 32 << 20 // of all partitions
	leastBytes = 64 << 10
	chunkSize  = 500 // records

	fetchWait  = 200 * time.Millisecond
	retryPause = 100 * time.Millisecond
	patience   = 30 * time.Second // without progress
)

// partition reads one partition.
type partition[T any] struct {
	*reading[T]
	Part
	chunks chan []item[T] // up to the end, never an empty one; closed there

	progressed time.Time
	troubled   bool
}

func (p *partition[T]) run(ctx context.Context) {
	at := p.From
	p.progressed = time.Now()
	for at < p.To {
		if err := p.step(ctx, &at, p.chunks); err != nil {
			p.cancel(err) // before the end that the visitor sees
			break
		}
	}
	close(p.chunks)
	for p.Follow && ctx.Err() == nil {
		if err := p.step(ctx, &at, p.live); err != nil {
			p.cancel(err)
		}
	}
}

// step makes one fetch and moves on by what came.
func (p *partition[T]) step(ctx context.Context, at *int64, out chan<- []item[T]) error {
	behind := *at >= p.To // the end
	page, err := p.fetch(ctx, *at, behind)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, kafka.OffsetOutOfRange):
		return p.outOfRange(ctx, at, err)
	case err != nil:
		return p.failed(ctx, err)
	case page.NextOffset > *at || behind:
		p.healed()
	case time.Since(p.progressed) > patience:
		return fmt.Errorf("%s/%d ends at offset %d, before it ended at %d: the log was cut, or is another one", p.Name, p.Partition, page.HighWatermark, p.To)
	}
	over, err := p.decodePage(ctx, page, out)
	if err != nil {
		return fmt.Errorf("read %s/%d: %w", p.Name, p.Partition, err)
	}
	if *at = page.NextOffset; over {
		*at = max(*at, p.To)
	}
	return nil
}

// fetch holds a slot up to the end, but not while its records wait to be
// visited: that may take until another partition has fetched.
func (p *partition[T]) fetch(ctx context.Context, at int64, behind bool) (*records.Page, error) {
	if !behind {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return p.Records.Fetch(ctx, records.FetchRequest{
		Topic: p.Name, Partition: p.Partition, Offset: at, ReadCommitted: p.Committed, MaxWait: fetchWait,
		MaxBytes: max(min(fetchBytes, allBytes/len(p.Parts)), leastBytes),
	})
}

// decodePage hands the records of a page on, chunk by chunk: what a batch unpacks
// to may be far larger than the page. over tells that nothing wanted can follow
// before the end.
func (p *partition[T]) decodePage(ctx context.Context, page *records.Page, out chan<- []item[T]) (over bool, err error) {
	var chunk []item[T]
	for batch, err := range page.Batches() {
		if err != nil {
			return false, err
		}
		// The broker's times only grow.
		if over = batch.LogAppendTime && !p.Until.IsZero() && batch.MaxTimestamp >= p.Until.UnixMilli(); over {
			break
		}
		for rec, err := range batch.Records() {
			switch {
			case err != nil:
				return false, err
			case rec.Offset >= p.To && !p.Follow, !p.wants(rec.Timestamp):
				continue
			}
			if value, wanted := p.decode(p.Partition, &rec); wanted {
				chunk = append(chunk, item[T]{rec.Timestamp, value})
			}
			if len(chunk) == chunkSize {
				if err := hand(ctx, out, chunk); err != nil {
					return false, err
				}
				chunk = nil
			}
		}
	}
	return over, hand(ctx, out, chunk)
}

func hand[T any](ctx context.Context, out chan<- []item[T], chunk []item[T]) error {
	if len(chunk) == 0 {
		return nil
	}
	select {
	case out <- chunk:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t *Topic) wants(at int64) bool {
	return (t.Since.IsZero() || at >= t.Since.UnixMilli()) && (t.Until.IsZero() || at < t.Until.UnixMilli())
}

// outOfRange goes on where the log begins now, if that is why.
func (p *partition[T]) outOfRange(ctx context.Context, at *int64, err error) error {
	first, errFirst := p.Records.Earliest(ctx, p.Name, p.Partition)
	switch {
	case errFirst != nil:
		return p.failed(ctx, errFirst)
	case first <= *at:
		return fmt.Errorf("%w: the log was cut, or is another one", err)
	}
	if p.Deleted != nil {
		p.Deleted(p.Partition, *at, first)
	}
	*at = first
	return nil
}

// failed waits before the next attempt, unless there should be none.
func (p *partition[T]) failed(ctx context.Context, err error) error {
	if code, isCode := errors.AsType[kafka.Error](err); isCode && !code.Temporary() {
		return err
	}
	if !p.Follow && time.Since(p.progressed) > patience {
		return err
	}
	if !p.troubled && p.Trouble != nil {
		p.Trouble(err)
	}
	p.troubled = true
	select {
	case <-time.After(retryPause):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *partition[T]) healed() {
	p.progressed = time.Now()
	if p.troubled && p.Trouble != nil {
		p.Trouble(nil)
	}
	p.troubled = false
}
