package producer

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go"

	"smscancel/worker"
)

// Requests publishes cancel requests.
type Requests struct{ writer *kafka.Writer }

// NewRequests returns a publisher to a request topic. It keys and partitions
// as every producer of the topic must: by lower-case id, with murmur2 as Java
// does, so that all records of one message meet in one partition.
func NewRequests(client *kafka.Client, topic string) *Requests {
	return &Requests{writer: &kafka.Writer{
		Addr:         client.Addr,
		Transport:    client.Transport,
		Topic:        topic,
		Balancer:     kafka.Murmur2Balancer{Consistent: true},
		RequiredAcks: kafka.RequireAll, // the zero value acknowledges nothing
		BatchTimeout: 1,                // the zero value waits a second for company
	}}
}

// Request is one record to publish. ID is its umid or batchId; a row that is
// too broken to have one gets an empty key.
type Request struct {
	ID    string
	Value []byte
}

// Publish sends requests and returns when all are durable.
func (r *Requests) Publish(ctx context.Context, requests ...Request) error {
	messages := make([]kafka.Message, len(requests))
	for i, req := range requests {
		messages[i] = kafka.Message{Key: []byte(worker.Target{ID: req.ID}.Key()), Value: req.Value}
	}
	if err := r.writer.WriteMessages(ctx, messages...); err != nil {
		return fmt.Errorf("publish %d requests to %s: %w", len(requests), r.writer.Topic, err)
	}
	return nil
}

// Close releases the publisher.
func (r *Requests) Close() error { return r.writer.Close() }
