package producer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/consumer/records"
	"smscancel/integration/broker"
	"smscancel/worker"
	"smscancel/worker/metrics"
)

const (
	requestTopic = "requests"
	outcomeTopic = "outcomes"
	patience     = time.Minute // how long a test waits for what must happen, on any machine
)

// bench is an outcome topic on an embedded broker, and its ledger.
type bench struct {
	t       *testing.T
	cluster *kfake.Cluster
	wire    *wire
	*Ledger
}

func newBench(t *testing.T, partitions int, settings map[string]string) *bench {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	transport := &kafka.Transport{}
	t.Cleanup(func() { transport.CloseIdleConnections(); b.Close() })
	if err := b.Cluster.CreateTopic(outcomeTopic, int32(partitions), settings); err != nil {
		t.Fatal(err)
	}
	w := &wire{RoundTripper: transport}
	client := &kafka.Client{Addr: kafka.TCP(b.Addr()), Transport: w}
	return &bench{t: t, cluster: b.Cluster, wire: w, Ledger: &Ledger{
		Client: client, Records: &records.Client{Transport: transport, Addr: client.Addr}, Topic: outcomeTopic,
		Partitions: partitions, ClusterID: "c", Metrics: metrics.New(), Log: zerolog.Nop(),
	}}
}

// wire is a transport that loses the answers to produce requests.
type wire struct {
	kafka.RoundTripper
	lose atomic.Int32 // how many answers to lose
}

// RoundTrip implements kafka.RoundTripper.
func (w *wire) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	res, err := w.RoundTripper.RoundTrip(ctx, addr, req)
	if err == nil && isProduce(req) && w.lose.Add(-1) >= 0 {
		return nil, errConnectionLost
	}
	return res, err
}

var errConnectionLost = errors.New("connection reset by peer")

func isProduce(req kafka.Request) bool { return req.ApiKey() == protocol.Produce }

func (b *bench) context() context.Context {
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	b.t.Cleanup(cancel)
	return ctx
}

// writer takes a source over, as far as its first append.
func (b *bench) writer(partition int) *Writer {
	b.t.Helper()
	w, err := b.Fence(b.context(), requestTopic, partition)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(w.Close)
	if got := b.replay(w); got == nil {
		b.t.Fatal("no replay")
	}
	return w
}

// replay is what a writer finds in the ledger, from its start.
func (b *bench) replay(w *Writer) []worker.Settled {
	b.t.Helper()
	found := []worker.Settled{}
	err := w.Replay(b.context(), 0, func(s worker.Settled) { found = append(found, s) }, func(int64, int64) {})
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

// fail answers the next produce requests with errors, in this order. Error 7
// and 20 are answered after the write, the others instead of it.
func (b *bench) fail(codes ...*kerr.Error) *kfake.FaultHandle {
	var faults []kfake.Fault
	for _, code := range codes {
		faults = append(faults, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: outcomeTopic, Err: code})
	}
	return b.cluster.Fault(faults...)
}

// tries are the batches of the produce requests for partition 0 that reached the broker.
func (b *bench) tries() func() [][]byte {
	var mu sync.Mutex
	var seen [][]byte
	b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{0}, Count: -1, Observe: true, When: func(req kmsg.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, bytes.Clone(batchOf(req)))
		return false
	}})
	return func() [][]byte {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

// hold keeps the next produce request waiting until open is called; held is
// closed when it has arrived.
func (b *bench) hold() (held <-chan struct{}, open func()) {
	return b.holdBatch(func([]byte) bool { return true })
}

// holdBatch does so with the first produce request whose batch matches.
func (b *bench) holdBatch(match func(batch []byte) bool) (held <-chan struct{}, open func()) {
	arrived, release := make(chan struct{}), make(chan struct{})
	done := false
	b.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if done || !match(batchOf(req)) {
			return nil, nil, false
		}
		done = true
		b.cluster.DropControl()
		close(arrived)
		b.cluster.SleepControl(func() { <-release })
		return nil, nil, false
	})
	open = sync.OnceFunc(func() { close(release) })
	b.t.Cleanup(open)
	return arrived, open
}

// batchOf is what a produce request wants to append.
func batchOf(req kmsg.Request) []byte {
	return req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records
}

// holdsEntries tells how many outcomes a batch holds.
func holdsEntries(batch []byte) int { return bytes.Count(batch, []byte(entryHeader)) }

func (b *bench) await(what string, c <-chan struct{}) {
	b.t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		b.t.Fatalf("%s did not happen", what)
	}
}

// durable waits for receipts and returns their ledger offsets.
func (b *bench) durable(receipts ...worker.Receipt) []int64 {
	b.t.Helper()
	var offsets []int64
	for i, r := range receipts {
		offset, err := r.Wait(b.context())
		if err != nil {
			b.t.Fatalf("append %d of %d: %v", i+1, len(receipts), err)
		}
		offsets = append(offsets, offset)
	}
	return offsets
}

// batches are those of an outcome partition, markers included.
func (b *bench) batches(partition int) []records.Batch {
	b.t.Helper()
	var all []records.Batch
	for at := int64(0); ; {
		page, err := b.Records.Fetch(b.context(), records.FetchRequest{Topic: outcomeTopic, Partition: partition, Offset: at})
		if err != nil {
			b.t.Fatal(err)
		}
		for batch, err := range page.Batches() {
			if err != nil {
				b.t.Fatal(err)
			}
			all = append(all, batch)
		}
		if page.NextOffset == at {
			return all
		}
		at = page.NextOffset
	}
}

// written are the outcomes of an outcome partition in the order of the log.
func (b *bench) written(partition int) []*worker.Outcome {
	b.t.Helper()
	var all []*worker.Outcome
	for _, batch := range b.batches(partition) {
		for rec, err := range batch.Records() {
			if err != nil {
				b.t.Fatal(err)
			}
			o, err := worker.DecodeOutcome(rec.Value)
			if err != nil {
				b.t.Fatalf("outcome at offset %d: %v", rec.Offset, err)
			}
			all = append(all, o)
		}
	}
	return all
}

// sources are the request offsets of outcomes, as text.
func sources(all []*worker.Outcome) string {
	var offsets []string
	for _, o := range all {
		offsets = append(offsets, fmt.Sprint(o.Source.Offset))
	}
	return strings.Join(offsets, " ")
}

func requestAt(partition int, offset int64) *worker.Record {
	return &worker.Record{Topic: requestTopic, Partition: partition, Offset: offset, Timestamp: time.UnixMilli(1_700_000_000_000 + offset)}
}

// outcomeAt is a cancelled outcome of the request at an offset.
func outcomeAt(partition int, offset int64) *worker.Outcome {
	req := &worker.Request{Target: worker.Target{SubAccountID: "acme_shop", ID: fmt.Sprintf("UMID-%d", offset)}}
	o := worker.NewOutcome(requestAt(partition, offset), req, "c")
	one := 1
	o.Status, o.CancelledCount, o.Attempts = worker.StatusCancelled, &one, 1
	return o
}

func rawRecords(batch []byte) protocol.RawRecordSet {
	return protocol.RawRecordSet{Reader: bytes.NewReader(batch)}
}
