package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/consumer/records"
	"smscancel/worker"
)

// follower reads the outcome topic from where it stood at the start.
type follower struct {
	records *records.Client
	topic   string
	next    []int64 // by partition
}

func newFollower(ctx context.Context, client *kafka.Client, topic string, partitions int) (*follower, error) {
	f := &follower{records: &records.Client{Transport: client.Transport, Addr: client.Addr}, topic: topic, next: make([]int64, partitions)}
	for p := range f.next {
		var err error
		if f.next[p], err = f.records.Latest(ctx, topic, p); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// run gives every outcome to visit until ctx ends or visit returns false. It
// reads the partitions side by side; visit is called by one at a time.
func (f *follower) run(ctx context.Context, visit func(*worker.Outcome) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	found := make(chan *worker.Outcome)
	failed := make(chan error, len(f.next))
	var readers sync.WaitGroup
	defer readers.Wait()
	defer cancel()
	for p := range f.next {
		readers.Go(func() { failed <- f.partition(ctx, p, found) })
	}
	for {
		select {
		case o := <-found:
			if !visit(o) {
				return nil
			}
		case err := <-failed:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *follower) partition(ctx context.Context, p int, found chan<- *worker.Outcome) error {
	for ctx.Err() == nil {
		page, err := f.records.Fetch(ctx, records.FetchRequest{Topic: f.topic, Partition: p, Offset: f.next[p], MaxWait: 200 * time.Millisecond})
		if err != nil {
			if errors.Is(err, kafka.OffsetOutOfRange) {
				return err
			}
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		for rec, err := range page.Records() {
			if err != nil {
				return err
			}
			o, err := worker.DecodeOutcome(rec.Value)
			if err != nil {
				continue // no outcome
			}
			select {
			case found <- o:
			case <-ctx.Done():
				return nil
			}
		}
		f.next[p] = page.NextOffset
	}
	return nil
}
