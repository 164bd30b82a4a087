package producer

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
	"github.com/segmentio/kafka-go/protocol/listoffsets"

	"smscancel/consumer/records"
	"smscancel/worker"
	"smscancel/worker/dedupe"
	"smscancel/worker/metrics"
)

// memoryLog is a broker with one partition that needs no network: it serves
// encoded batches from memory, through the exchange that a real one is asked by.
type memoryLog struct {
	batches [][]byte // as many records in each, but for the last, which is a marker
	each    int
	records int
}

const memoryPID, memoryEpoch = 7, 3

// newMemoryLog has the outcomes of n requests, each to a message of its own, and a
// marker behind them.
func newMemoryLog(tb testing.TB, n, each int) (*memoryLog, *Writer) {
	tb.Helper()
	log := &memoryLog{each: each, records: n}
	w := &Writer{
		source: source{topic: requestTopic}, coord: coordination{pid: memoryPID, epoch: memoryEpoch},
		ledger: &Ledger{Topic: outcomeTopic, Partitions: 1, Metrics: metrics.New(), Log: zerolog.Nop(),
			Records: &records.Client{Transport: log, Addr: kafka.TCP("memory:1")}},
	}
	for at := 0; at < n; at += each {
		rs := make([]protocol.Record, each)
		for i := range rs {
			rs[i] = w.memoryRecord(tb, int64(at+i))
		}
		log.add(tb, rs, int64(at), 0)
	}
	log.add(tb, []protocol.Record{{Key: protocol.NewBytes([]byte{0, 0, 0, 1}), Value: protocol.NewBytes(make([]byte, 6))}}, int64(n), 1<<5|1<<4)
	return log, w
}

// memoryRecord is what the writer appends for a cancelled request.
func (w *Writer) memoryRecord(tb testing.TB, offset int64) protocol.Record {
	req := &worker.Request{
		Target:    worker.Target{SubAccountID: "acme_shop", ID: fmt.Sprintf("9fa677ae-6b99-4215-85b3-%012x", offset)},
		RequestID: fmt.Sprintf("%s/0/%d", requestTopic, offset), CampaignID: "autumn-sale",
	}
	o := worker.NewOutcome(requestAt(0, offset), req, "c")
	one := 1
	o.Status, o.CancelledCount, o.Attempts = worker.StatusCancelled, &one, 1
	o.FirstAttemptAt = worker.FormatTime(time.Now())
	o.CompletedAt = o.FirstAttemptAt
	p := &pending{outcome: o}
	if err := w.encode(p); err != nil {
		tb.Fatal(err)
	}
	return protocol.Record{Time: time.Now(), Key: protocol.NewBytes(p.key), Value: protocol.NewBytes(p.value), Headers: p.headers}
}

func (l *memoryLog) add(tb testing.TB, rs []protocol.Record, base int64, attributes byte) {
	raw, err := encodeBatch(rs, memoryPID, memoryEpoch, 0)
	if err != nil {
		tb.Fatal(err)
	}
	batch := bytes.Clone(raw[4:])
	binary.BigEndian.PutUint64(batch, uint64(base))
	batch[batchAttributes+1] |= attributes
	binary.BigEndian.PutUint32(batch[batchCRC:], crc32.Checksum(batch[batchAttributes:], castagnoli))
	l.batches = append(l.batches, batch)
}

// RoundTrip implements kafka.RoundTripper.
func (l *memoryLog) RoundTrip(_ context.Context, _ net.Addr, req kafka.Request) (kafka.Response, error) {
	if asked, ok := req.(*listoffsets.Request); ok {
		return &listoffsets.Response{Topics: []listoffsets.ResponseTopic{{
			Topic: asked.Topics[0].Topic, Partitions: []listoffsets.ResponsePartition{{Offset: int64(l.records) + 1}},
		}}}, nil
	}
	raw := req.(protocol.RawExchanger)
	raw.Required(map[protocol.ApiKey]int16{protocol.Fetch: 11})
	return raw.RawExchange(&memoryConn{log: l})
}

// memoryConn takes a fetch request and answers it.
type memoryConn struct {
	log     *memoryLog
	request bytes.Buffer
	answer  io.Reader
}

func (c *memoryConn) Write(b []byte) (int, error) { return c.request.Write(b) }

func (c *memoryConn) Read(b []byte) (int, error) {
	if c.answer == nil {
		_, id, _, msg, err := protocol.ReadRequest(&c.request)
		if err != nil {
			return 0, err
		}
		c.answer = c.log.answer(id, msg.(*fetch.Request))
	}
	return c.answer.Read(b)
}

// answer is a response of version 11.
func (l *memoryLog) answer(id int32, req *fetch.Request) io.Reader {
	asked, size := req.Topics[0].Partitions[0], 0
	parts := []io.Reader{nil}
	for _, b := range l.batches[min(int(asked.FetchOffset)/l.each, len(l.batches)-1):] {
		if size > 0 && size+len(b) > int(asked.PartitionMaxBytes) {
			break
		}
		size += len(b)
		parts = append(parts, bytes.NewReader(b))
	}
	var body []byte
	put16 := func(v int) { body = binary.BigEndian.AppendUint16(body, uint16(v)) }
	put32 := func(v int) { body = binary.BigEndian.AppendUint32(body, uint32(v)) }
	put64 := func(v int) { body = binary.BigEndian.AppendUint64(body, uint64(v)) }
	put32(int(id))
	put32(0) // throttle time
	put16(0)
	put32(0) // session
	put32(1)
	put16(len(req.Topics[0].Topic))
	body = append(body, req.Topics[0].Topic...)
	put32(1)
	put32(int(asked.Partition))
	put16(0)
	put64(l.records + 1)
	put64(l.records + 1)
	put64(0)
	put32(-1) // aborted
	put32(-1) // replica
	put32(size)
	parts[0] = bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+size)), body...))
	return io.MultiReader(parts...)
}

// BenchmarkReplay replays from memory, through the fetch exchange, into nothing
// and into an index. Its floor only fetches, and checks the batches' checksums.
func BenchmarkReplay(b *testing.B) {
	const n = 500_000
	for _, each := range []int{10, 1000} {
		_, w := newMemoryLog(b, n, each)
		b.Run(fmt.Sprintf("floor/batch=%d", each), func(b *testing.B) {
			r := &replay{Writer: w, end: n}
			for b.Loop() {
				for at := int64(0); at < n; {
					page, err := r.fetch(b.Context(), at)
					if err != nil {
						b.Fatal(err)
					}
					for _, err := range page.Batches() {
						if err != nil {
							b.Fatal(err)
						}
					}
					at = page.NextOffset
					page.Release()
				}
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
		for name, visitor := range map[string]func() func(worker.Settled){
			"read": func() func(worker.Settled) { return func(worker.Settled) {} },
			"index": func() func(worker.Settled) {
				p := worker.Partition{Handler: &worker.Handler{Hasher: dedupe.NewHasher()}, Index: dedupe.NewIndex(24 * time.Hour)}
				return p.Remember
			},
		} {
			b.Run(fmt.Sprintf("%s/batch=%d", name, each), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					visit, found := visitor(), 0
					if err := w.Replay(b.Context(), 0, func(s worker.Settled) { found++; visit(s) }, func(int64, int64) {}); err != nil || found != n {
						b.Fatal(found, err)
					}
				}
				b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// Promise: a replay allocates by pages and batches, and nothing for a record. (The
// race detector adds a little.)
func TestAReplayAllocatesNothingForARecord(t *testing.T) {
	const n, most = 20_000, 1000
	_, w := newMemoryLog(t, n, 1000)
	replay := func() {
		found := 0
		if err := w.Replay(t.Context(), 0, func(worker.Settled) { found++ }, func(int64, int64) {}); err != nil || found != n {
			t.Fatal(found, err)
		}
	}
	if got := testing.AllocsPerRun(3, replay); got > most {
		t.Errorf("%.0f allocations for %d records, want at most %d", got, n, most)
	}
}
