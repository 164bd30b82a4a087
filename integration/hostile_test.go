package integration

import (
	"bytes"
	varint "encoding/binary"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
	"smscancel/worker"
)

// packed is a batch of one record, compressed. What it unpacks to is made of a
// record's beginning and as many repetitions of a piece as said, so that neither
// ever stands whole in this process.
type packed struct {
	begin  []byte // of the record, behind its length
	piece  []byte
	pieces int
	end    []byte
}

// valueOf is a record whose value is n zeros; headersOf one that has n headers
// of two bytes each, without a name or a value.
func valueOf(n int) packed {
	return packed{begin: varint.AppendVarint([]byte{0, 0, 0, 1}, int64(n)), piece: make([]byte, 1<<10), pieces: n >> 10, end: []byte{0}}
}

func headersOf(n int) packed {
	return packed{begin: varint.AppendVarint([]byte{0, 0, 0, 1, 1}, int64(n)), piece: bytes.Repeat([]byte{0, 1}, 1<<10), pieces: n >> 10}
}

// batch renders the packed record as a batch of format 2.
func (p packed) batch(t *testing.T) []byte {
	t.Helper()
	size := len(p.begin) + len(p.piece)*p.pieces + len(p.end)
	var content bytes.Buffer
	w, err := zstd.NewWriter(&content)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(varint.AppendVarint(nil, int64(size)))
	w.Write(p.begin)
	for range p.pieces {
		w.Write(p.piece)
	}
	w.Write(p.end)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	const zstdCodec = 4
	b := varint.BigEndian.AppendUint64(nil, 0)
	b = varint.BigEndian.AppendUint32(b, uint32(49+content.Len()))
	b = append(b, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, zstdCodec)
	b = append(b, make([]byte, 4+8+8)...)
	b = append(b, bytes.Repeat([]byte{0xff}, 8+2+4)...)
	b = append(b, 0, 0, 0, 1)
	b = append(b, content.Bytes()...)
	varint.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// produceRaw appends a batch as it stands.
func (w *world) produceRaw(partition int, batch []byte) {
	w.t.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(w.brokers...), Transport: transport}
	raw := append(varint.BigEndian.AppendUint32(nil, uint32(len(batch))), batch...)
	res, err := client.RawProduce(within(w.t), &kafka.RawProduceRequest{
		Topic: w.requests, Partition: partition, RequiredAcks: kafka.RequireAll, RawRecords: protocol.RawRecordSet{Reader: bytes.NewReader(raw)},
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		w.t.Fatalf("append %d bytes: %v", len(batch), err)
	}
}

// Fault: whoever may write requests writes the worst that a broker takes: a batch
// of 4 KiB that unpacks to twenty million headers, one of 18 KiB that unpacks to
// 80 MiB, a key of 900 KiB, bytes that are no text. Promise: what can be unpacked
// within 64 MiB has its outcome, the rest stops its own partition, which says so
// by offset and waits for an operator; the other partitions go on; the worker
// stays below 1 GiB.
func TestTheWorstBatchesHarmNobodyElse(t *testing.T) {
	kafkatest.Require(t)
	w := newWorld(t, kafkatest.Shared(t), 3, simulator.Options{})
	w.plain = true
	client := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	good := func(partition, from, n int) {
		records := w.requestsFor(w.umidsIn(partition, from, n)...)
		for _, r := range records {
			r.Partition = int32(partition)
		}
		w.produce(client, records...)
	}
	garbage := "\xff\xfe\x00\x1b[31m"
	good(0, 0, 1)
	w.produceRaw(0, headersOf(20<<20).batch(t))
	w.produce(client, &kgo.Record{Topic: w.requests, Key: bytes.Repeat([]byte{0xff}, 900<<10), Value: []byte("{}")},
		&kgo.Record{Topic: w.requests, Key: []byte(garbage), Value: []byte(garbage), Headers: []kgo.RecordHeader{
			{Key: garbage, Value: []byte(garbage)}, {Key: "content-type", Value: []byte(garbage)}, {Key: "ce_id", Value: []byte(garbage)}, {Key: "traceparent", Value: []byte(garbage)}}})
	good(0, 100, 1)
	good(1, 200, 1)
	w.produceRaw(1, valueOf(80<<20).batch(t))
	good(1, 300, 1)
	good(2, 400, 20)
	r := w.start("worker")
	used := r.watch(100 * time.Millisecond)
	w.waitForOutcomes(5 + 1 + 20)
	w.eventually("partition 1 to say what stops it", func() error {
		return r.said("fetch failed, trying again", "batch at offset 1: decompresses to more than")
	})
	good(2, 500, 20)
	w.waitForOutcomes(5 + 1 + 40)
	peak := 0.0
	for _, s := range used.stop() {
		peak = max(peak, s.rss)
	}
	if peak > 1<<30 {
		t.Errorf("%.0f MiB resident", peak/(1<<20))
	}
	r.stop()
	w.setOffsets(map[int]int64{1: 2}, "")
	r = w.start("after-the-operator")
	w.waitForOutcomes(5 + 2 + 40)
	w.waitReady(r)
	r.stop()
	byStatus := map[worker.Status]int{}
	for _, f := range w.readOutcomes() {
		byStatus[f.outcome.Status]++
	}
	if byStatus[worker.StatusCancelled] != 2+2+40 || byStatus[worker.StatusRejected] != 3 {
		t.Errorf("outcomes: %v", byStatus)
	}
}

// said tells whether a log line has a message and an error that contains a text.
func (r *replica) said(message, text string) error {
	for _, line := range r.lines() {
		if reason, _ := line["error"].(string); line["message"] == message && strings.Contains(reason, text) {
			return nil
		}
	}
	return errNotYet
}
