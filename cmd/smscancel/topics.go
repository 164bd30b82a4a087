package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/cmd/smscancel/process"
	"smscancel/consumer/records"
	"smscancel/consumer/scan"
	"smscancel/producer"
	"smscancel/worker"
)

// topics is a command's way to what stands in Kafka.
type topics struct {
	client     *kafka.Client
	records    *records.Client
	stderr     io.Writer
	disconnect func()
}

func openTopics(cluster process.Cluster, env environment, names ...string) *topics {
	t := &topics{stderr: env.stderr}
	t.client, t.disconnect = cluster.Client("smscancel", names...)
	t.records = &records.Client{Transport: t.client.Transport, Addr: t.client.Addr}
	return t
}

// outcomes finds what stands in the outcome topic now, or since a time.
func (t *topics) outcomes(ctx context.Context, topic string, since time.Time) (*scan.Topic, error) {
	return t.find(ctx, topic, false, since)
}

// requests finds what stands in the request topics now. Those of transactions
// that are open or were aborted are none.
func (t *topics) requests(ctx context.Context, names []string) (all []*scan.Topic, err error) {
	for _, name := range names {
		found, err := t.find(ctx, name, true, time.Time{})
		if err != nil {
			return nil, err
		}
		all = append(all, found)
	}
	return all, nil
}

func (t *topics) find(ctx context.Context, topic string, committed bool, since time.Time) (*scan.Topic, error) {
	partitions, err := producer.PartitionCount(ctx, t.client, topic)
	if err != nil {
		return nil, err
	}
	found, err := scan.Find(ctx, t.records, topic, partitions, committed, since)
	if err != nil {
		return nil, err
	}
	found.Trouble = t.trouble
	found.Deleted = func(partition int, from, to int64) {
		fmt.Fprintf(t.stderr, "smscancel: retention has just deleted %s/%d from offset %d to %d, before it was read\n", topic, partition, from, to)
	}
	return found, nil
}

// committed is what a group has committed in the partitions of some topics; -1
// where that is nothing.
func (t *topics) committed(ctx context.Context, group string, of []*scan.Topic) (map[string]map[int]int64, error) {
	req := &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{}}
	committed := map[string]map[int]int64{}
	for _, topic := range of {
		committed[topic.Name] = map[int]int64{}
		for _, part := range topic.Parts {
			committed[topic.Name][part.Partition] = -1
			req.Topics[topic.Name] = append(req.Topics[topic.Name], part.Partition)
		}
	}
	res, err := t.offsets(ctx, req)
	if errors.Is(err, kafka.GroupIdNotFound) {
		return committed, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the commits of group %s: %w", group, err)
	}
	for topic, known := range committed {
		for _, p := range res.Topics[topic] {
			if p.Error != nil {
				return nil, fmt.Errorf("read the commit of group %s for %s/%d: %w", group, topic, p.Partition, p.Error)
			}
			known[p.Partition] = p.CommittedOffset
		}
	}
	return committed, nil
}

// offsets waits for a coordinator: a cluster that has never had a group makes its
// topic of offsets first.
func (t *topics) offsets(ctx context.Context, req *kafka.OffsetFetchRequest) (*kafka.OffsetFetchResponse, error) {
	for began := time.Now(); ; {
		res, err := t.client.OffsetFetch(ctx, req)
		if err == nil {
			err = res.Error
		}
		if code, isCode := errors.AsType[kafka.Error](err); !isCode || !code.Temporary() || time.Since(began) > process.IOTimeout {
			return res, err
		}
		if err := worker.Sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

func (t *topics) trouble(err error) {
	if err != nil {
		fmt.Fprintf(t.stderr, "smscancel: waiting for Kafka: %v\n", err)
		return
	}
	fmt.Fprintln(t.stderr, "smscancel: Kafka answers again")
}

// quiet is the error of a command that only shows something: that nobody looks
// any more, or that it was stopped, is none.
func quiet(ctx context.Context, err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}
