package bench

import (
	"context"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
)

// bare reads as many requests as the worker does and writes as many records as
// its outcomes are, at the pace of what Limit does beside it: then the broker
// needs about as much of the machine as it does for the worker.
func (s *Spec) bare(ctx context.Context, progress io.Reader) (Report, error) {
	reader := kafka.NewReader(kafka.ReaderConfig{Brokers: s.Brokers, GroupID: s.Group, Topic: s.Requests, MaxWait: 100 * time.Millisecond,
		JoinGroupBackoff: 200 * time.Millisecond, CommitInterval: time.Second})
	defer reader.Close()
	writer := &kafka.Writer{Addr: kafka.TCP(s.Brokers...), Topic: s.Outcomes, Balancer: kafka.Murmur2Balancer{Consistent: true},
		RequiredAcks: kafka.RequireAll, BatchTimeout: 5 * time.Millisecond}
	defer writer.Close()
	watch, err := start()
	if err != nil {
		return Report{}, err
	}
	done := 0
	for step := make([]byte, 1); done < s.Count; {
		if _, err := io.ReadFull(progress, step); err != nil {
			return Report{}, err
		}
		if err := pass(ctx, reader, writer, s.Sample); err != nil {
			return Report{}, err
		}
		done += Step
	}
	return watch.stop(Report{Done: done})
}

// pass reads a step of requests and writes a record for each.
func pass(ctx context.Context, reader *kafka.Reader, writer *kafka.Writer, sample []byte) error {
	requests := make([]kafka.Message, Step)
	outcomes := make([]kafka.Message, Step)
	for i := range requests {
		var err error
		if requests[i], err = reader.FetchMessage(ctx); err != nil {
			return err
		}
		outcomes[i] = kafka.Message{Key: requests[i].Key, Value: sample}
	}
	if err := writer.WriteMessages(ctx, outcomes...); err != nil {
		return err
	}
	return reader.CommitMessages(ctx, requests...)
}
