package records

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// partition is partition 0 of a topic of its own.
type partition struct {
	*Client
	t     *testing.T
	addr  string
	topic string
}

func newPartition(t *testing.T) *partition {
	t.Helper()
	addr := startBroker(t)
	transport := &kafka.Transport{ClientID: "records-test"}
	t.Cleanup(transport.CloseIdleConnections)
	p := &partition{
		Client: &Client{Transport: transport, Addr: kafka.TCP(addr)}, t: t, addr: addr,
		topic: strings.NewReplacer("/", ".", " ", "_").Replace(fmt.Sprintf("%s.%d", t.Name(), time.Now().UnixNano())),
	}
	admin := &kafka.Client{Addr: p.Addr, Transport: transport}
	res, err := admin.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: p.topic, NumPartitions: 1, ReplicationFactor: 1}},
	})
	if err = errors.Join(err, res.Errors[p.topic]); err != nil {
		t.Fatal(err)
	}
	p.settle(0)
	return p
}

// settle waits until there is no open transaction below an offset. Brokers
// elect leaders and end transactions after they have answered.
func (p *partition) settle(offset int64) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	end, err := p.LatestStable(ctx, p.topic, 0)
	for ; err != nil || end < offset; end, err = p.LatestStable(ctx, p.topic, 0) {
		if ctx.Err() != nil {
			p.t.Fatalf("stable end %d, %v; want %d", end, err, offset)
		}
	}
}

// producer is a client of another make than the reader.
func (p *partition) producer(opts ...kgo.Opt) *kgo.Client {
	p.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(p.addr), kgo.DefaultProduceTopic(p.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	}, opts...)...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(client.Close)
	return client
}

// send produces each value as one record.
func (p *partition) send(client *kgo.Client, values ...string) {
	p.t.Helper()
	var all []*kgo.Record
	for _, v := range values {
		all = append(all, &kgo.Record{Key: []byte("key"), Value: []byte(v)})
	}
	if err := client.ProduceSync(p.t.Context(), all...).FirstErr(); err != nil {
		p.t.Fatal(err)
	}
}

// transact produces values in a transaction.
func (p *partition) transact(client *kgo.Client, end kgo.TransactionEndTry, values ...string) {
	p.t.Helper()
	if err := client.BeginTransaction(); err != nil {
		p.t.Fatal(err)
	}
	p.send(client, values...)
	if err := client.EndTransaction(p.t.Context(), end); err != nil {
		p.t.Fatal(err)
	}
}

func (p *partition) fetch(req FetchRequest) *Page {
	p.t.Helper()
	req.Topic = p.topic
	if req.MaxWait == 0 {
		req.MaxWait = 100 * time.Millisecond
	}
	page, err := p.Fetch(p.t.Context(), req)
	if err != nil {
		p.t.Fatal(err)
	}
	return page
}

// all reads from an offset to the end, page after page.
func (p *partition) all(req FetchRequest) (values []string) {
	p.t.Helper()
	for {
		page := p.fetch(req)
		for rec, err := range page.Records() {
			if err != nil {
				p.t.Fatal(err)
			}
			values = append(values, string(rec.Value))
		}
		end := page.HighWatermark
		if req.ReadCommitted {
			end = page.LastStableOffset
		}
		if req.Offset = page.NextOffset; req.Offset >= end {
			return values
		}
	}
}

func TestWhatOtherClientsProduceIsRead(t *testing.T) {
	p := newPartition(t)
	var want []string
	for i, codec := range []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	} {
		values := numbered(fmt.Sprintf("franz-%d", i), 50)
		p.send(p.producer(kgo.ProducerBatchCompression(codec)), values...)
		want = append(want, values...)
	}
	for _, codec := range codecs {
		values := numbered(fmt.Sprintf("kafka-go-%d", codec), 50)
		w := &kafka.Writer{
			Addr: p.Addr, Transport: p.Transport, Topic: p.topic, Compression: codec,
			RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond,
		}
		var messages []kafka.Message
		for _, v := range values {
			messages = append(messages, kafka.Message{Value: []byte(v)})
		}
		if err := errors.Join(w.WriteMessages(t.Context(), messages...), w.Close()); err != nil {
			t.Fatal(err)
		}
		want = append(want, values...)
	}
	for _, size := range []int{1, 1000, 1 << 20} { // batch by batch, a few at once, all at once
		if got := p.all(FetchRequest{MaxBytes: size}); !slices.Equal(got, want) {
			t.Errorf("%d bytes a fetch: %d records, want %d in their order", size, len(got), len(want))
		}
	}
}

// numbered is n values, each long enough to be worth compressing.
func numbered(name string, n int) (values []string) {
	for i := range n {
		values = append(values, fmt.Sprintf("%s %d %s", name, i, strings.Repeat("x", 100)))
	}
	return values
}

func TestKeysValuesHeadersAndTimesArriveAsTheyWereSent(t *testing.T) {
	p := newPartition(t)
	at := time.UnixMilli(1_700_000_000_123)
	sent := []*kgo.Record{
		{Key: []byte("k"), Value: []byte("v"), Timestamp: at, Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "", Value: []byte{}}}},
		{Key: nil, Value: nil, Timestamp: at.Add(time.Second)},
		{Key: []byte{}, Value: []byte{}, Timestamp: at.Add(-time.Second)},
	}
	if err := p.producer().ProduceSync(t.Context(), sent...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	i := 0
	for rec, err := range p.fetch(FetchRequest{}).Records() {
		if err != nil {
			t.Fatal(err)
		}
		want := sent[i]
		if rec.Offset != int64(i) || rec.Timestamp != want.Timestamp.UnixMilli() || !same(rec.Key, want.Key) || !same(rec.Value, want.Value) {
			t.Errorf("record %d: %+v, want %+v", i, rec, want)
		}
		n := 0
		for name, value := range rec.Headers.All() {
			if h := want.Headers[n]; string(name) != h.Key || !same(value, h.Value) {
				t.Errorf("record %d, header %d: %q %v", i, n, name, value)
			}
			n++
		}
		if n != len(want.Headers) {
			t.Errorf("record %d: %d headers", i, n)
		}
		i++
	}
	if i != len(sent) {
		t.Errorf("%d records, want %d", i, len(sent))
	}
}

// same tells nil from empty.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && string(a) == string(b) }

func TestOnlyCommittedRecordsAreReadCommitted(t *testing.T) {
	p := newPartition(t)
	one, two := p.producer(kgo.TransactionalID(p.topic+".1")), p.producer(kgo.TransactionalID(p.topic+".2"))
	free := p.producer()
	p.transact(one, kgo.TryCommit, "committed 1", "committed 2")
	p.transact(one, kgo.TryAbort, "aborted 1", "aborted 2")
	p.send(free, "free 1")
	if err := two.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	p.send(two, "aborted 3")
	p.transact(one, kgo.TryCommit, "committed 3")
	p.send(free, "free 2")
	p.send(two, "aborted 4")
	if err := two.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	p.transact(two, kgo.TryCommit, "committed 4")
	p.transact(one, kgo.TryAbort, "aborted 5") // the log ends with an aborted transaction and its marker
	p.settle(17)

	want := []string{"committed 1", "committed 2", "free 1", "committed 3", "free 2", "committed 4"}
	for _, size := range []int{1, 300, 1 << 20} {
		if got := p.all(FetchRequest{MaxBytes: size, ReadCommitted: true}); !slices.Equal(got, want) {
			t.Errorf("%d bytes a fetch: %q, want %q", size, got, want)
		}
	}
	if got := p.all(FetchRequest{}); len(got) != 11 {
		t.Errorf("read uncommitted: %q, want all 11", got)
	}
	for from := range p.latest() { // from the middle of anything
		n := len(p.all(FetchRequest{Offset: from, ReadCommitted: true}))
		if got := p.all(FetchRequest{Offset: from, ReadCommitted: true}); !slices.Equal(got, want[len(want)-n:]) {
			t.Errorf("from %d: %q", from, got)
		}
	}
}

func (p *partition) latest() int64 {
	p.t.Helper()
	end, err := p.Latest(p.t.Context(), p.topic, 0)
	if err != nil {
		p.t.Fatal(err)
	}
	return end
}

func TestMarkersStandInTheLogWithTheirProducer(t *testing.T) {
	p := newPartition(t)
	client := p.producer(kgo.TransactionalID(p.topic))
	p.transact(client, kgo.TryCommit, "a")
	p.transact(client, kgo.TryAbort, "b")
	p.settle(4)
	id, _, err := client.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for b, err := range p.fetch(FetchRequest{}).Batches() {
		if err != nil {
			t.Fatal(err)
		}
		if b.ProducerID != id || !b.Transactional {
			t.Errorf("batch %+v, want producer %d in a transaction", b, id)
		}
		if b.Control {
			m, err := b.Marker()
			if err != nil || m.Offset != b.LastOffset {
				t.Errorf("marker %+v, %v", m, err)
			}
			got = append(got, fmt.Sprint("marker ", m.Type))
		}
		for rec, err := range b.Records() {
			got = append(got, fmt.Sprint(string(rec.Value), err))
		}
	}
	if want := []string{"a<nil>", "marker 1", "b<nil>", "marker 0"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestAnOpenTransactionHoldsBackCommittedReaders(t *testing.T) {
	p := newPartition(t)
	client := p.producer(kgo.TransactionalID(p.topic))
	p.send(p.producer(), "before")
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	p.send(client, "open")
	p.send(p.producer(), "behind")

	page := p.fetch(FetchRequest{ReadCommitted: true})
	if got, err := read(page); err != nil || !slices.Equal(got, []int64{0}) || page.NextOffset != 1 {
		t.Errorf("records %v, %v, next offset %d; want the one before", got, err, page.NextOffset)
	}
	if page.LastStableOffset != 1 || page.HighWatermark != 3 || page.LogStartOffset != 0 {
		t.Errorf("stable %d, high watermark %d, start %d", page.LastStableOffset, page.HighWatermark, page.LogStartOffset)
	}
	if end, err := p.LatestStable(t.Context(), p.topic, 0); end != 1 || err != nil {
		t.Errorf("stable end %d, %v; want 1", end, err)
	}
	if end := p.latest(); end != 3 {
		t.Errorf("end %d, want 3", end)
	}
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	p.settle(4)
	if got := p.all(FetchRequest{ReadCommitted: true}); !slices.Equal(got, []string{"before", "open", "behind"}) {
		t.Errorf("after the commit: %q", got)
	}
}

func TestABatchLargerThanTheFetchComesWhole(t *testing.T) {
	p := newPartition(t)
	p.send(p.producer(), numbered("large", 500)...)
	page := p.fetch(FetchRequest{MaxBytes: 100, Offset: 3})
	if got, err := read(page); err != nil || len(got) == 0 || got[0] != 3 {
		t.Errorf("%d records, %v; want them from offset 3", len(got), err)
	}
}

func TestAnEmptyPartitionGivesAnEmptyPage(t *testing.T) {
	p := newPartition(t)
	page := p.fetch(FetchRequest{MaxWait: time.Millisecond})
	if got, err := read(page); err != nil || len(got) > 0 || page.NextOffset != 0 || page.HighWatermark != 0 {
		t.Errorf("%v, %v, %+v", got, err, page)
	}
}

func TestOffsetsOutOfRangeAndUnknownPartitionsAreRecognized(t *testing.T) {
	p := newPartition(t)
	p.send(p.producer(), "a", "b", "c")
	if _, err := p.Fetch(t.Context(), FetchRequest{Topic: p.topic, Offset: 4}); !errors.Is(err, kafka.OffsetOutOfRange) {
		t.Errorf("past the end: %v", err)
	}
	p.deleteBelow(2)
	if _, err := p.Fetch(t.Context(), FetchRequest{Topic: p.topic, Offset: 1}); !errors.Is(err, kafka.OffsetOutOfRange) {
		t.Errorf("below the start: %v", err)
	}
	if got := p.all(FetchRequest{Offset: 2}); !slices.Equal(got, []string{"c"}) { // the connection still serves
		t.Errorf("from the start: %q", got)
	}
	for topic, partition := range map[string]int{"no-such-topic": 0, p.topic: 7} {
		if _, err := p.Fetch(t.Context(), FetchRequest{Topic: topic, Partition: partition}); !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Errorf("fetch %s/%d: %v", topic, partition, err)
		}
		if _, err := p.Latest(t.Context(), topic, partition); !errors.Is(err, kafka.UnknownTopicOrPartition) {
			t.Errorf("latest of %s/%d: %v", topic, partition, err)
		}
	}
}

func (p *partition) deleteBelow(offset int64) {
	p.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	topic := kmsg.NewDeleteRecordsRequestTopic()
	part := kmsg.NewDeleteRecordsRequestTopicPartition()
	part.Offset = offset
	topic.Topic, topic.Partitions = p.topic, append(topic.Partitions, part)
	req.Topics = append(req.Topics, topic)
	res, err := req.RequestWith(p.t.Context(), p.producer())
	if err != nil || res.Topics[0].Partitions[0].ErrorCode != 0 {
		p.t.Fatalf("delete records: %+v, %v", res, err)
	}
}

func TestOffsetsAreFoundByTimeAndAtBothEnds(t *testing.T) {
	p := newPartition(t)
	ctx := t.Context()
	if _, found, err := p.ByTime(ctx, p.topic, 0, time.UnixMilli(1)); found || err != nil {
		t.Errorf("empty partition: found %v, %v", found, err)
	}
	client := p.producer()
	start := time.UnixMilli(1_700_000_000_000)
	for i := range 5 {
		rec := &kgo.Record{Value: []byte("v"), Timestamp: start.Add(time.Duration(i) * time.Second)}
		if err := client.ProduceSync(ctx, rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for after, want := range map[time.Duration]int64{
		-time.Hour: 0, 0: 0, time.Millisecond: 1, 3 * time.Second: 3, 3500 * time.Millisecond: 4, 5 * time.Second: -1,
	} {
		at, found, err := p.ByTime(ctx, p.topic, 0, start.Add(after))
		if at != want || found != (want >= 0) || err != nil {
			t.Errorf("after %s: %d, %v, %v; want %d", after, at, found, err, want)
		}
	}
	p.deleteBelow(2)
	if first, err := p.Earliest(ctx, p.topic, 0); first != 2 || err != nil {
		t.Errorf("earliest %d, %v; want 2", first, err)
	}
	if end := p.latest(); end != 5 {
		t.Errorf("latest %d, want 5", end)
	}
}

func TestAnUnreachableBrokerIsNoUnknownTopic(t *testing.T) {
	transport := &kafka.Transport{DialTimeout: time.Second}
	defer transport.CloseIdleConnections()
	c := &Client{Transport: transport, Addr: kafka.TCP("127.0.0.1:1")}
	if _, err := c.Fetch(t.Context(), FetchRequest{Topic: "t"}); err == nil || errors.Is(err, kafka.UnknownTopicOrPartition) {
		t.Errorf("%v", err)
	}
}
