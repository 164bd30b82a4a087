package producer

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/consumer/records"
	"smscancel/worker"
)

// Check refuses unless the outcome topic still has the partition count that
// this process started with.
func (l *Ledger) Check(ctx context.Context) error {
	n, err := PartitionCount(ctx, l.Client, l.Topic)
	if err != nil {
		return err
	}
	if n != l.Partitions {
		return &worker.PartitionCountError{Topic: l.Topic, Was: l.Partitions, Is: n}
	}
	return nil
}

// CheckWritten refuses unless the outcomes in the topic were written with its
// present partition count.
func (l *Ledger) CheckWritten(ctx context.Context) error {
	for p := range l.Partitions {
		if err := l.checkWritten(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// checkWritten compares the count in the first outcome of a partition.
func (l *Ledger) checkWritten(ctx context.Context, partition int) error {
	at, err := l.Records.Earliest(ctx, l.Topic, partition)
	if err != nil {
		return err
	}
	page, err := l.Records.Fetch(ctx, records.FetchRequest{Topic: l.Topic, Partition: partition, Offset: at, MaxBytes: 64 << 10, MaxWait: time.Millisecond})
	if err != nil {
		return err
	}
	for rec, err := range page.Records() {
		if err != nil {
			return err
		}
		header, ok := rec.Headers.Get(entryHeader)
		if !ok {
			continue
		}
		if e, err := parseEntry(header, rec.Key); err == nil && e.partitions != l.Partitions {
			return &worker.PartitionCountError{Topic: l.Topic, Was: e.partitions, Is: l.Partitions}
		}
		return nil
	}
	return nil
}

// PartitionCount is how many partitions a topic has.
func PartitionCount(ctx context.Context, client *kafka.Client, topic string) (int, error) {
	res, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, fmt.Errorf("read the partitions of topic %s: %w", topic, err)
	}
	for _, t := range res.Topics {
		if t.Error != nil {
			return 0, fmt.Errorf("topic %s: %w", topic, t.Error)
		}
		if t.Name == topic && len(t.Partitions) > 0 {
			return len(t.Partitions), nil
		}
	}
	return 0, fmt.Errorf("topic %s: %w", topic, kafka.UnknownTopicOrPartition)
}
