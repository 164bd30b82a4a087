package scan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/consumer/records"
	"smscancel/integration/broker"
)

const topic = "scanned"

// log is a topic of a broker of the test's own.
type log struct {
	t      *testing.T
	broker *broker.Broker
	reader *records.Client
}

func newLog(t *testing.T, partitions int, settings map[string]string) *log {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &kafka.Client{Addr: kafka.TCP(b.Addr()), Transport: transport}
	require.NoError(t, broker.CreateTopics(t.Context(), client, 1, broker.Topic{Name: topic, Partitions: partitions, Settings: settings}))
	return &log{t, b, &records.Client{Transport: transport, Addr: client.Addr}}
}

func (l *log) client(opts ...kgo.Opt) *kgo.Client {
	l.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(l.broker.Addr()), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	require.NoError(l.t, err)
	l.t.Cleanup(client.Close)
	return client
}

// put appends records of a second each: the letters of values, one batch.
func (l *log) put(client *kgo.Client, partition int32, second int, values string) {
	l.t.Helper()
	var all []*kgo.Record
	for i, v := range values {
		all = append(all, &kgo.Record{Partition: partition, Value: []byte(string(v)), Timestamp: second0.Add(time.Duration(second+i) * time.Second)})
	}
	require.NoError(l.t, client.ProduceSync(l.t.Context(), all...).FirstErr())
}

var second0 = time.Unix(1_800_000_000, 0)

func (l *log) find(partitions int, committed bool, since time.Time) *Topic {
	l.t.Helper()
	t, err := Find(l.t.Context(), l.reader, topic, partitions, committed, since)
	require.NoError(l.t, err)
	return t
}

func letter(_ int, rec *records.Record) (string, bool) { return string(rec.Value), true }

// read reads all that there is, as one text.
func read(ctx context.Context, t *Topic) (text string, err error) {
	err = Read(ctx, t, letter, func(v string) bool { text += v; return true })
	return text, err
}

func TestEveryPartitionIsReadUpToItsEndInTheOrderOfTime(t *testing.T) {
	l := newLog(t, 3, nil)
	client := l.client()
	l.put(client, 0, 0, "a")
	l.put(client, 0, 3, "de")
	l.put(client, 1, 1, "bc")
	l.put(client, 1, 5, "f")
	found := l.find(3, false, time.Time{})
	l.put(client, 1, 6, "x") // later than the ends
	text, err := read(t.Context(), found)
	require.NoError(t, err)
	assert.Equal(t, "abcdef", text)
	assert.EqualValues(t, 6, found.Len())
}

func TestRecordsOutsideTheTimesAreLeftOut(t *testing.T) {
	l := newLog(t, 2, nil)
	client := l.client()
	l.put(client, 0, 0, "abcde")
	l.put(client, 1, 1, "BCDEF")
	found := l.find(2, false, second0.Add(2*time.Second))
	found.Until = second0.Add(4 * time.Second)
	text, err := read(t.Context(), found)
	require.NoError(t, err)
	assert.Equal(t, "cCdD", text)
	none := l.find(2, false, second0.Add(time.Hour))
	assert.Zero(t, none.Len())
}

func TestOfTransactionsOnlyTheCommittedAreReadAndMarkersAreNoRecords(t *testing.T) {
	l := newLog(t, 1, nil)
	plain := l.client()
	tx := l.client(kgo.TransactionalID("tx"))
	l.put(plain, 0, 0, "a")
	for i, how := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		require.NoError(t, tx.BeginTransaction())
		l.put(tx, 0, 1+i, []string{"x", "b"}[i])
		require.NoError(t, tx.EndTransaction(t.Context(), how))
	}
	l.put(plain, 0, 5, "c")
	require.NoError(t, tx.BeginTransaction())
	l.put(tx, 0, 6, "y") // open
	l.put(plain, 0, 7, "z")
	text, err := read(t.Context(), l.find(1, true, time.Time{}))
	require.NoError(t, err)
	assert.Equal(t, "abc", text)
	text, err = read(t.Context(), l.find(1, false, time.Time{}))
	require.NoError(t, err)
	assert.Equal(t, "axbcyz", text)
	require.NoError(t, tx.EndTransaction(t.Context(), kgo.TryAbort))
}

func TestFollowGoesOnBehindTheEnds(t *testing.T) {
	l := newLog(t, 2, nil)
	client := l.client()
	l.put(client, 0, 0, "a")
	l.put(client, 1, 1, "b")
	found := l.find(2, false, time.Time{})
	found.Follow = true
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan string)
	over := make(chan error)
	go func() {
		over <- Read(ctx, found, letter, func(v string) bool { seen <- v; return true })
	}()
	assert.Equal(t, "a", <-seen)
	assert.Equal(t, "b", <-seen)
	for _, v := range []string{"c", "d", "e"} {
		l.put(client, int32(len(v)%2), 9, v)
		assert.Equal(t, v, <-seen, "once, and none again")
	}
	cancel()
	assert.ErrorIs(t, <-over, context.Canceled)
}

func TestReadingEndsWhenTheVisitorHasEnough(t *testing.T) {
	l := newLog(t, 2, nil)
	client := l.client()
	l.put(client, 0, 0, "abc")
	l.put(client, 1, 9, "xyz")
	var text string
	found := l.find(2, false, time.Time{})
	found.Follow = true
	require.NoError(t, Read(t.Context(), found, letter, func(v string) bool { text += v; return text != "ab" }))
	assert.Equal(t, "ab", text)
	even := func(_ int, rec *records.Record) (string, bool) { return string(rec.Value), rec.Offset%2 == 0 }
	text = ""
	require.NoError(t, Read(t.Context(), l.find(2, false, time.Time{}), even, func(v string) bool { text += v; return true }))
	assert.Equal(t, "acxz", text, "what decode does not want is not visited")
}

// However much a page unpacks to, only a few chunks of it are decoded before they
// are visited.
func TestDecodingGoesAFewChunksAheadAndNoFurther(t *testing.T) {
	l := newLog(t, 1, nil)
	const n = 20 * chunkSize
	var all []*kgo.Record
	for range n {
		all = append(all, &kgo.Record{Value: []byte("the same again and again")})
	}
	require.NoError(t, l.client(kgo.ProducerBatchCompression(kgo.ZstdCompression())).ProduceSync(t.Context(), all...).FirstErr())
	var decoded atomic.Int64
	visited := 0
	count := func(int, *records.Record) (bool, bool) { decoded.Add(1); return true, true }
	require.NoError(t, Read(t.Context(), l.find(1, false, time.Time{}), count, func(bool) bool {
		visited++
		return assert.LessOrEqual(t, decoded.Load()-int64(visited), int64(3*chunkSize))
	}))
	assert.Equal(t, n, visited)
}

func TestWhatRetentionTakesWhileReadingIsSaid(t *testing.T) {
	l := newLog(t, 1, nil)
	client := l.client()
	l.put(client, 0, 0, "abcd")
	found := l.find(1, false, time.Time{})
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, 2, -1)
	_, err := kadm.NewClient(client).DeleteRecords(t.Context(), offsets)
	require.NoError(t, err)
	var told []string
	found.Deleted = func(partition int, from, to int64) { told = append(told, fmt.Sprint(partition, from, to)) }
	text, err := read(t.Context(), found)
	require.NoError(t, err)
	assert.Equal(t, "cd", text)
	assert.Equal(t, []string{"0 0 2"}, told)
}

func TestALogThatWasMadeAnewIsAnErrorAndNotAnEnd(t *testing.T) {
	l := newLog(t, 1, nil)
	l.put(l.client(), 0, 0, "ab")
	found := l.find(1, false, time.Time{})
	found.Parts[0].From, found.Parts[0].To = 5, 9
	_, err := read(t.Context(), found)
	assert.ErrorIs(t, err, kafka.OffsetOutOfRange)
}

func TestTroubleIsToldOnceAndWhenItIsOver(t *testing.T) {
	l := newLog(t, 1, nil)
	l.put(l.client(), 0, 0, "ab")
	found := l.find(1, false, time.Time{})
	broken := &flaky{RoundTripper: l.reader.Transport, left: 3}
	found.Records = &records.Client{Transport: broken, Addr: l.reader.Addr}
	var told []error
	found.Trouble = func(err error) { told = append(told, err) }
	text, err := read(t.Context(), found)
	require.NoError(t, err)
	assert.Equal(t, "ab", text)
	require.Len(t, told, 2)
	assert.ErrorIs(t, told[0], errFlaky)
	assert.NoError(t, told[1])
}

var errFlaky = errors.New("no connection")

// flaky fails the first exchanges.
type flaky struct {
	kafka.RoundTripper
	left int
}

func (f *flaky) RoundTrip(ctx context.Context, addr net.Addr, req kafka.Request) (kafka.Response, error) {
	if f.left--; f.left >= 0 {
		return nil, errFlaky
	}
	return f.RoundTripper.RoundTrip(ctx, addr, req)
}
