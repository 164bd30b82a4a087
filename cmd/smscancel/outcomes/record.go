// Package outcomes is what the commands know of the outcome topic: how it is
// read, selected from, counted and shown. It writes nothing to Kafka and decides
// nothing; the commands outcomes, redrive, submit and dev call it.
package outcomes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"smscancel/consumer/records"
	"smscancel/consumer/scan"
	"smscancel/worker"
)

// Record is an outcome and where it stands.
type Record struct {
	*worker.Outcome
	Partition int
	Offset    int64
	At        time.Time // of the record: when the outcome was durable
	Value     []byte    // as it stands in the topic
}

// Reader reads an outcome topic.
type Reader struct {
	Topic *scan.Topic

	// Strays counts the records that are no outcomes. Stray names the first.
	Strays int64
	Stray  error
}

// Each visits the outcomes that are wanted, until visit returns false; see
// [scan.Read] for their order. Want is called from several goroutines; nil
// wants them all.
func (r *Reader) Each(ctx context.Context, want func(*Record) bool, visit func(*Record) bool) error {
	return Each(ctx, r, func(o *Record, _ *records.Record) (*Record, bool) { return o, want == nil || want(o) }, visit)
}

// Each takes from each outcome what is wanted, in several goroutines, and visits
// that.
func Each[T any](ctx context.Context, r *Reader, take func(*Record, *records.Record) (T, bool), visit func(T) bool) error {
	type found struct {
		taken T
		stray error
	}
	decode := func(partition int, rec *records.Record) (f found, wanted bool) {
		o, err := decoded(partition, rec)
		if err != nil {
			f.stray = fmt.Errorf("%s/%d at offset %d: %w", r.Topic.Name, partition, rec.Offset, err)
			return f, true
		}
		f.taken, wanted = take(o, rec)
		return f, wanted
	}
	return scan.Read(ctx, r.Topic, decode, func(f found) bool {
		if f.stray == nil {
			return visit(f.taken)
		}
		if r.Strays++; r.Stray == nil {
			r.Stray = f.stray
		}
		return true
	})
}

func decoded(partition int, rec *records.Record) (*Record, error) {
	o, err := worker.DecodeOutcome(rec.Value)
	if err == nil && (o.OutcomeID == "" || o.Status == "" || o.Source.Topic == "") {
		err = errors.New("it has no outcomeId, status or source")
	}
	return &Record{Outcome: o, Partition: partition, Offset: rec.Offset, At: time.UnixMilli(rec.Timestamp), Value: rec.Value}, err
}
