package producer

import (
	"math"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"smscancel/consumer/records"
)

// What the broker keeps is what was encoded, under the producer's identity; a
// page that is read checks the CRC.
func TestBatchIsReadBackAsItWasEncoded(t *testing.T) {
	b := newBench(t, 1, nil)
	now := time.UnixMilli(1_700_000_000_123)
	want := []protocol.Record{
		{Time: now, Key: protocol.NewBytes([]byte("k1")), Value: protocol.NewBytes([]byte("v1")), Headers: []protocol.Header{{Key: "h", Value: []byte("1")}, {Key: "h", Value: nil}}},
		{Time: now, Value: protocol.NewBytes([]byte("v2"))}, // no key
		{Time: now, Key: protocol.NewBytes([]byte{}), Value: protocol.NewBytes([]byte("v3"))},
	}
	raw, err := encodeBatch(want, 4711, 5, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.raw(raw, "")
	batch := b.batches(0)[0]
	if batch.ProducerID != 4711 || batch.ProducerEpoch != 5 || batch.BaseSequence != 0 || batch.Transactional {
		t.Errorf("written as producer %d epoch %d sequence %d transactional %t", batch.ProducerID, batch.ProducerEpoch, batch.BaseSequence, batch.Transactional)
	}
	var got []records.Record
	for rec, err := range batch.Records() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec)
	}
	if len(got) != 3 || string(got[0].Key) != "k1" || string(got[0].Value) != "v1" || got[0].Headers.Len() != 2 ||
		got[1].Key != nil || string(got[1].Value) != "v2" || got[2].Key == nil || got[2].Timestamp != now.UnixMilli() {
		t.Errorf("read back as %+v", got)
	}
}

func TestSequenceWrapsBehindTheLargest(t *testing.T) {
	for _, c := range []struct {
		sequence int32
		n        int
		want     int32
	}{{0, 3, 3}, {math.MaxInt32 - 1, 1, math.MaxInt32}, {math.MaxInt32, 1, 0}, {math.MaxInt32 - 1, 5, 3}, {0, 5000, 5000}} {
		if got := nextSequence(c.sequence, c.n); got != c.want {
			t.Errorf("%d records after sequence %d: %d, want %d", c.n, c.sequence, got, c.want)
		}
	}
}

// raw produces an encoded batch into outcome partition 0.
func (b *bench) raw(batch []byte, transactionalID string) int64 {
	b.t.Helper()
	res, err := b.Client.RawProduce(b.context(), &kafka.RawProduceRequest{
		Topic: outcomeTopic, RequiredAcks: kafka.RequireAll, TransactionalID: transactionalID, RawRecords: rawRecords(batch),
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return res.BaseOffset
}
