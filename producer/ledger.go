// Package producer writes to Kafka: outcomes to the ledger, and requests to a
// request topic.
//
// The ledger is the outcome topic, the worker's only state. Per request
// partition it is fenced (fence.go), replayed (replay.go) and appended to
// (writer.go), in that order. This package makes no call to the API and reads
// no requests; package consumer asks it for the ledger of each partition it is
// given.
package producer

import (
	"fmt"
	"sync/atomic"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"smscancel/consumer/records"
	"smscancel/worker"
	"smscancel/worker/metrics"
)

// Ledger is the outcome topic.
type Ledger struct {
	Client     *kafka.Client
	Records    *records.Client
	Topic      string
	Partitions int    // N; fixed for the life of an outcome topic
	ClusterID  string // of the cluster that holds the request topics
	Metrics    *metrics.Metrics
	Log        zerolog.Logger

	maxMessageBytes atomic.Int64 // of the topic, as CheckTopic found it; 0 = unknown
}

// source is one request partition and the place of its outcomes.
type source struct {
	topic     string
	partition int
	ledger    int // outcome partition
}

func (l *Ledger) source(topic string, partition int) source {
	return source{topic: topic, partition: partition, ledger: partition % l.Partitions}
}

// TransactionalID is the name under which writers of one source fence each
// other: not the group's nor the process's, so whoever writes outcomes for that
// request partition fences everybody else. Its prefix is TransactionalIDPrefix.
func (l *Ledger) TransactionalID(topic string, partition int) string {
	return fmt.Sprintf("%s%s/%s/%d", TransactionalIDPrefix, l.Topic, topic, partition)
}

// TransactionalIDPrefix begins every transactional id, for ACLs.
const TransactionalIDPrefix = "smscancel/"

var _ worker.Ledger = (*Writer)(nil)
