package consumer

import (
	"testing"
	"time"

	"smscancel/consumer/records"
)

// Promise: a record is decoded and tracked with one allocation each: its form for
// the worker, and its place before the watermark.
func TestARecordIsDecodedAndTrackedWithTwoAllocations(t *testing.T) {
	tr := newTracker(0, nil, func() int64 { return 0 })
	rec := &records.Record{Timestamp: time.Now().UnixMilli(), Key: []byte("k"), Value: []byte("{}")}
	offset := int64(0)
	decode := testing.AllocsPerRun(1000, func() { Decode("t", 0, rec) })
	track := testing.AllocsPerRun(1000, func() {
		tr.finish(tr.take(id(offset)))
		offset++
	})
	if decode > 1 || track > 2 { // the list of items moves now and then
		t.Errorf("%v allocations to decode, %v to track", decode, track)
	}
}

// BenchmarkTracker has 10,000 records in hand, which are finished in any order.
func BenchmarkTracker(b *testing.B) {
	const inHand = 10_000
	tr := newTracker(0, nil, func() int64 { return 0 })
	var open [inHand]*item
	for i := range open {
		open[i] = tr.take(id(int64(i)))
	}
	b.ReportAllocs()
	for i := int64(inHand); b.Loop(); i++ {
		at := i * 7919 % inHand
		tr.finish(open[at])
		open[at] = tr.take(id(i))
	}
}

func BenchmarkDecodeRequest(b *testing.B) {
	rec := &records.Record{Timestamp: time.Now().UnixMilli(), Key: []byte("k"), Value: []byte("{}")}
	b.ReportAllocs()
	for b.Loop() {
		Decode("t", 0, rec)
	}
}
