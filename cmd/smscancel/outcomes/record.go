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

	stray error // it is no outcome
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
	decode := func(partition int, rec *records.Record) (*Record, bool) {
		o := decoded(partition, rec)
		return o, o.stray != nil || want == nil || want(o)
	}
	return scan.Read(ctx, r.Topic, decode, func(o *Record) bool {
		if o.stray == nil {
			return visit(o)
		}
		if r.Strays++; r.Stray == nil {
			r.Stray = fmt.Errorf("%s/%d at offset %d: %w", r.Topic.Name, o.Partition, o.Offset, o.stray)
		}
		return true
	})
}

func decoded(partition int, rec *records.Record) *Record {
	o := &Record{Partition: partition, Offset: rec.Offset, At: time.UnixMilli(rec.Timestamp), Value: rec.Value}
	o.Outcome, o.stray = worker.DecodeOutcome(rec.Value)
	if o.stray == nil && (o.OutcomeID == "" || o.Status == "" || o.Source.Topic == "") {
		o.stray = errors.New("it has no outcomeId, status or source")
	}
	return o
}
