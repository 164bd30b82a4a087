package kafkatest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// patience bounds what a test waits for. It is no measure of anything.
const patience = 3 * time.Minute

func TestMain(m *testing.M) { Main(m) }

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// produce writes values to partition 0 of topic, durable on all replicas.
func produce(t *testing.T, brokers []string, topic string, values ...string) {
	t.Helper()
	transport := &kafka.Transport{} // the default one may not know a new topic for a while
	defer transport.CloseIdleConnections()
	w := &kafka.Writer{Addr: kafka.TCP(brokers...), Transport: transport, Topic: topic, RequiredAcks: kafka.RequireAll, BatchTimeout: time.Millisecond}
	defer func() { _ = w.Close() }()
	messages := make([]kafka.Message, 0, len(values))
	for _, v := range values {
		messages = append(messages, kafka.Message{Value: []byte(v)})
	}
	if err := w.WriteMessages(within(t), messages...); err != nil {
		t.Fatalf("produce: %v", err)
	}
}

// expect reads partition 0 of topic from its start and compares.
func expect(t *testing.T, brokers []string, topic string, values ...string) {
	t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: brokers, Topic: topic, MaxWait: 500 * time.Millisecond})
	defer func() { _ = r.Close() }()
	for i, want := range values {
		m, err := r.ReadMessage(within(t))
		if err != nil {
			t.Fatalf("consume: %v", err)
		}
		if string(m.Value) != want {
			t.Fatalf("record %d is %q, want %q", i, m.Value, want)
		}
	}
}

// replicas waits until every partition of topic has want replicas in sync, as
// the broker at address sees it, and returns the partitions.
func replicas(t *testing.T, address, topic string, want int) (partitions []kafka.Partition) {
	t.Helper()
	err := poll(within(t), func(ctx context.Context) error {
		conn, err := dial(ctx, address)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if partitions, err = conn.ReadPartitions(topic); err != nil {
			return err
		}
		for _, p := range partitions {
			if len(p.Isr) != want || p.Leader.Host == "" {
				return fmt.Errorf("partition %d: leader %q, %d replicas in sync, want %d", p.ID, p.Leader.Host, len(p.Isr), want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("replicas of %s: %v", topic, err)
	}
	return partitions
}
