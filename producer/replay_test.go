package producer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"smscancel/worker"
	"smscancel/worker/dedupe"
)

// ledgerRecord is an outcome record as this project writes it, but for what the
// test makes of its ledger header.
func ledgerRecord(key, header string) protocol.Record {
	r := protocol.Record{Time: time.Now(), Key: protocol.NewBytes([]byte(key)), Value: protocol.NewBytes([]byte("{}"))}
	if header != "" {
		r.Headers = []protocol.Header{{Key: "ce_id", Value: []byte("x")}, {Key: entryHeader, Value: []byte(header)}}
	}
	return r
}

func (b *bench) plainBatch(rs ...protocol.Record) []byte {
	b.t.Helper()
	raw, err := encodeBatch(rs, -1, -1, -1)
	if err != nil {
		b.t.Fatal(err)
	}
	return raw
}

// inTransaction publishes records in a committed transaction of another producer.
func (b *bench) inTransaction(rs ...protocol.Record) {
	b.t.Helper()
	other := coordination{client: b.Client, txID: "somebody-else", topic: outcomeTopic}
	if err := errors.Join(other.initProducerID(b.context()), other.addPartition(b.context())); err != nil {
		b.t.Fatal(err)
	}
	raw, err := encodeBatch(rs, int64(other.pid), int16(other.epoch), 0)
	if err != nil {
		b.t.Fatal(err)
	}
	batch := raw[4:]
	batch[batchAttributes+1] |= 1 << 4
	binary.BigEndian.PutUint32(batch[batchCRC:], crc32.Checksum(batch[batchAttributes:], castagnoli))
	b.raw(raw, other.txID)
	if err := other.endTransaction(b.context()); err != nil {
		b.t.Fatal(err)
	}
}

// Promise: an outcome that cannot be understood stops the takeover; leaving it
// out could settle its request a second time.
func TestReplayStopsAtAMalformedHeader(t *testing.T) {
	b := newBench(t, 2, nil)
	b.raw(b.plainBatch(ledgerRecord("k", "1 2 requests 0 garbage")), "")
	w, err := b.Fence(b.context(), requestTopic, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	err = w.Replay(b.context(), 0, func(worker.Settled) {}, func(int64, int64) {})
	if err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("replay ended with %v", err)
	}
}

// Promise: a replay visits every outcome of its own source and nothing else,
// however many strangers share the ledger partition.
func TestReplayVisitsItsOwnOutcomesUpToItsOwnFence(t *testing.T) {
	b := newBench(t, 2, nil)
	first, neighbour := b.writer(0), b.writer(2) // both in ledger partition 0
	own := b.durable(first.Append(outcomeAt(0, 1)), first.Append(outcomeAt(0, 2)))
	b.durable(neighbour.Append(outcomeAt(2, 3)))
	b.raw(b.plainBatch(ledgerRecord("k", ""),
		ledgerRecord("k", "1 2 other.requests 0 4 0 00000000 1 m acme_shop"), ledgerRecord("k", "1 2 requests 1 5 0 00000000 1 m acme_shop")), "")
	b.inTransaction(ledgerRecord("k", "1 2 requests 0 6 0 00000000 1 m acme_shop"))
	own = append(own, b.durable(first.Append(outcomeAt(0, 7)))...)
	w, err := b.Fence(b.context(), requestTopic, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	b.raw(b.plainBatch(ledgerRecord("k", "1 2 requests 0 8 0 00000000 1 m acme_shop")), "") // behind the fence

	found := b.replay(w)
	if len(found) != 3 {
		t.Fatalf("visited %+v", found)
	}
	for i, offset := range []int64{1, 2, 7} {
		want := worker.Settled{
			Record: outcomeAt(0, offset).Record, Target: worker.Target{SubAccountID: "acme_shop", ID: fmt.Sprintf("umid-%d", offset)},
			Answer: dedupe.CancelledOne, Ledger: own[i], At: found[i].At,
		}
		if found[i] != want || time.Since(found[i].At).Abs() > time.Hour {
			t.Errorf("visited %+v, want %+v", found[i], want)
		}
	}
	last := own[2]
	if next := w.Next(); next <= last {
		t.Errorf("next is %d, an older writer's outcome stands at %d", next, last)
	}
	if got := b.durable(w.Append(outcomeAt(0, 9)))[0]; got < w.Next()-1 {
		t.Errorf("written at %d, next says %d", got, w.Next())
	}
}

func TestReplayFromAnOffsetTellsItsProgress(t *testing.T) {
	b := newBench(t, 1, nil)
	w := b.writer(0)
	offsets := b.durable(w.Append(outcomeAt(0, 1)), w.Append(outcomeAt(0, 2)), w.Append(outcomeAt(0, 3)))
	heir, err := b.Fence(b.context(), requestTopic, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(heir.Close)
	var visited []int64
	at, end := int64(-1), int64(0)
	err = heir.Replay(b.context(), offsets[1], func(s worker.Settled) { visited = append(visited, s.Record.Offset) }, func(a, e int64) { at, end = a, e })
	if err != nil || fmt.Sprint(visited) != "[2 3]" || at != end || end < 3 {
		t.Errorf("visited %v, progress %d of %d, %v", visited, at, end, err)
	}
}

func TestReplayRefusesALedgerThatIsShorterThanItWas(t *testing.T) {
	b := newBench(t, 1, nil)
	w := b.writer(0)
	err := w.Replay(b.context(), 1000, func(worker.Settled) {}, func(int64, int64) {})
	if !errors.Is(err, ErrOtherLedger) {
		t.Errorf("replay from beyond the end: %v", err)
	}
	w.next.Store(1000) // as if that much had been acknowledged
	if _, err := w.Append(outcomeAt(0, 1)).Wait(b.context()); !errors.Is(err, ErrOtherLedger) {
		t.Errorf("an append below the last acknowledged one: %v", err)
	}
}

// N is fixed for the life of an outcome topic.
func TestAnotherPartitionCountIsRefused(t *testing.T) {
	b := newBench(t, 2, nil)
	w := b.writer(0)
	if err := b.Check(b.context()); err != nil {
		t.Fatalf("an empty topic: %v", err)
	}
	b.durable(w.Append(outcomeAt(0, 1)))
	if err := b.CheckWritten(b.context()); err != nil {
		t.Fatalf("outcomes of the same count: %v", err)
	}
	counts := func(name string, err error, was, is int) {
		t.Helper()
		var wrong *worker.PartitionCountError
		if !errors.As(err, &wrong) || wrong.Was != was || wrong.Is != is {
			t.Errorf("%s: %v", name, err)
		}
	}
	grown := &Ledger{Client: b.Client, Records: b.Records, Topic: outcomeTopic, Partitions: 3, Metrics: b.Metrics}
	counts("the topic has another count than at the start", grown.Check(b.context()), 3, 2)
	other := newBench(t, 2, nil)
	other.raw(other.plainBatch(ledgerRecord("k", "1 5 requests 0 8 0 00000000 1 m acme_shop")), "")
	counts("its outcomes were written with another count", other.CheckWritten(b.context()), 5, 2)
	late, err := other.Fence(b.context(), requestTopic, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(late.Close)
	counts("the replay meets one", late.Replay(b.context(), 0, func(worker.Settled) {}, func(int64, int64) {}), 5, 2)
}

func TestReadingAnOutcomeThatIsGoneIsNoError(t *testing.T) {
	b := newBench(t, 1, nil)
	w := b.writer(0)
	offsets := b.durable(w.Append(outcomeAt(0, 1)), w.Append(outcomeAt(0, 2)))
	if o, err := w.Read(b.context(), 0); o != nil || err != nil {
		t.Errorf("a marker: %+v, %v", o, err)
	}
	if err := b.cluster.DeleteRecords(outcomeTopic, 0, offsets[1]); err != nil {
		t.Fatal(err)
	}
	if o, err := w.Read(b.context(), offsets[0]); o != nil || err != nil {
		t.Errorf("a deleted one: %+v, %v", o, err)
	}
	bounds, err := b.Bounds(b.context(), 0, time.Now().Add(-time.Hour))
	if err != nil || bounds.First != offsets[1] || bounds.Since > offsets[1] || bounds.End != offsets[1]+1 || bounds.Oldest.IsZero() {
		t.Errorf("bounds %+v, %v", bounds, err)
	}
	if bounds, err = b.Bounds(b.context(), 0, time.Now().Add(time.Hour)); err != nil || bounds.Since != bounds.End {
		t.Errorf("nothing is newer than the future: %+v, %v", bounds, err)
	}
}
