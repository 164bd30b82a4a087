package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/broker"
	"smscancel/worker"
)

// scene is an embedded broker with requests and outcomes made by hand, by
// another Kafka client than the product's.
type scene struct {
	*kgo.Client
	t         *testing.T
	addr      string
	clusterID string
	n         int // outcome partitions
	at        time.Time
}

func newScene(t *testing.T, requestPartitions, outcomePartitions int) *scene {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	require.NoError(t, broker.CreateTopics(t.Context(), &kafka.Client{Addr: kafka.TCP(b.Addr()), Transport: transport}, 1,
		broker.Topic{Name: devRequestTopic, Partitions: requestPartitions}, broker.Topic{Name: devOutcomeTopic, Partitions: outcomePartitions}))
	s := &scene{t: t, addr: b.Addr(), n: outcomePartitions, at: time.Now().Add(-time.Hour).Truncate(time.Millisecond)}
	s.Client = s.client()
	meta, err := kadm.NewClient(s.Client).Metadata(t.Context())
	require.NoError(t, err)
	s.clusterID = meta.Cluster
	return s
}

func (s *scene) client(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.addr), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	require.NoError(s.t, err)
	s.t.Cleanup(client.Close)
	return client
}

// run runs the program on this broker.
func (s *scene) run(args ...string) result {
	s.t.Helper()
	return smscancel(s.t, nil, append(args, "--brokers", s.addr)...)
}

// request publishes a request of acme_shop, a second after what came before.
func (s *scene) request(partition int, umid, more string) *worker.Record {
	s.t.Helper()
	return s.value(partition, umid, fmt.Sprintf(`{"umid":%q,"subAccountId":"acme_shop"%s}`, umid, more))
}

// value publishes a request record as it is given.
func (s *scene) value(partition int, key, value string) *worker.Record {
	s.t.Helper()
	rec := s.put(&kgo.Record{Topic: devRequestTopic, Partition: int32(partition), Key: []byte(key), Value: []byte(value)})
	return &worker.Record{Topic: rec.Topic, Partition: partition, Offset: rec.Offset, Timestamp: rec.Timestamp, Key: rec.Key, Value: rec.Value}
}

// put appends a record, a second after what came before.
func (s *scene) put(rec *kgo.Record) *kgo.Record {
	s.t.Helper()
	s.at = s.at.Add(time.Second)
	rec.Timestamp = s.at
	require.NoError(s.t, s.ProduceSync(s.t.Context(), rec).FirstErr())
	return rec
}

// outcomeOf is the outcome of a request as the worker would make it.
func (s *scene) outcomeOf(rec *worker.Record, status worker.Status) *worker.Outcome {
	s.t.Helper()
	req, err := worker.Parser{DefaultSubAccount: "acme_shop"}.Parse(rec)
	var o *worker.Outcome
	if err != nil {
		o = worker.RejectedOutcome(rec, err.(*worker.Rejection), s.clusterID)
	} else {
		o = worker.NewOutcome(rec, req, s.clusterID)
	}
	o.Status, o.CompletedAt = status, worker.FormatTime(s.at.Add(time.Second))
	if status == worker.StatusCancelled {
		one := 1
		o.CancelledCount, o.Attempts = &one, 1
	}
	return o
}

// settle appends the outcome of a request to the ledger, changed as one likes.
func (s *scene) settle(rec *worker.Record, status worker.Status, change ...func(*worker.Outcome)) *worker.Outcome {
	s.t.Helper()
	o := s.outcomeOf(rec, status)
	for _, do := range change {
		do(o)
	}
	s.put(s.record(o, rec.Partition%s.n))
	return o
}

// record is an outcome as it stands in the ledger.
func (s *scene) record(o *worker.Outcome, partition int) *kgo.Record {
	s.t.Helper()
	value, headers, err := o.Encode()
	require.NoError(s.t, err)
	kind, sub := "m", o.SubAccountID
	switch {
	case o.Status == worker.StatusRejected:
		kind, sub = "-", "-"
	case o.BatchID != "":
		kind = "b"
	}
	rec := &kgo.Record{Topic: devOutcomeTopic, Partition: int32(partition), Key: o.Key, Value: value}
	for _, h := range append(headers, worker.Header{Key: "smscancel-ledger", Value: fmt.Appendf(nil, "1 %d %s %d %d %d %08x %s %s %s", s.n,
		o.Source.Topic, o.Source.Partition, o.Source.Offset, o.Record.Timestamp, o.Record.Hash, []string{"-", "r", "0", "1"}[o.Answer()], kind, sub)}) {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
	}
	return rec
}

// commit commits an offset of the group, as a worker does.
func (s *scene) commit(partition int, offset int64) {
	s.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(devRequestTopic, int32(partition), offset, -1)
	require.NoError(s.t, kadm.NewClient(s.Client).CommitAllOffsets(s.t.Context(), "smscancel", offsets))
}

// failedWith makes an outcome one that failed.
func failedWith(kind worker.Kind, httpStatus, code int, message string) func(*worker.Outcome) {
	return func(o *worker.Outcome) {
		o.Error = &worker.Error{Kind: kind, HTTPStatus: httpStatus, Code: &code, Message: message}
		o.Attempts = 1
	}
}
