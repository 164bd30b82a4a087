package producer

import (
	"context"
	"fmt"
	"time"

	"smscancel/consumer/records"
	"smscancel/worker"
)

// Bounds are those of a request partition's ledger, now.
func (l *Ledger) Bounds(ctx context.Context, partition int, since time.Time) (b worker.LedgerBounds, err error) {
	p := partition % l.Partitions
	if b.First, err = l.Records.Earliest(ctx, l.Topic, p); err != nil {
		return b, err
	}
	if b.End, err = l.Records.Latest(ctx, l.Topic, p); err != nil {
		return b, err
	}
	found := false
	if b.Since, found, err = l.Records.ByTime(ctx, l.Topic, p, since); err != nil {
		return b, fmt.Errorf("find %s in the ledger: %w", since.UTC().Format(time.RFC3339), err)
	}
	if !found {
		b.Since = b.End
	}
	b.Oldest, err = l.oldest(ctx, p, b.First, b.End)
	return b, err
}

// oldest is the time of the first batch at or after an offset, markers included:
// everything that was deleted is older. It is zero if there is none.
func (l *Ledger) oldest(ctx context.Context, ledger int, at, end int64) (time.Time, error) {
	for at < end {
		page, err := l.Records.Fetch(ctx, records.FetchRequest{
			Topic: l.Topic, Partition: ledger, Offset: at, MaxBytes: 64 << 10, MaxWait: time.Millisecond,
		})
		if err != nil {
			return time.Time{}, err
		}
		for b, err := range page.Batches() {
			if err != nil {
				return time.Time{}, err
			}
			return time.UnixMilli(b.MaxTimestamp), nil
		}
		if page.NextOffset <= at {
			break
		}
		at = page.NextOffset
	}
	return time.Time{}, nil
}
