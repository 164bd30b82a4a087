// Package history reads what a run has left in Kafka, whole, in the form that
// package checker takes: the visible records of a topic, and every commit of a
// group. It uses another client library than the worker does, so that the two
// do not share a mistake. Its callers are the end-to-end suites.
package history

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/integration/checker"
)

// Read reads a topic from its start to its present end, those of a partition in
// their order. Records of aborted transactions and control markers are left
// out. The options must name the brokers.
func Read(ctx context.Context, topic string, options ...kgo.Opt) ([]*kgo.Record, error) {
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	first, err := kadm.NewClient(client).ListStartOffsets(ctx, topic)
	if err == nil {
		err = first.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("first offsets of %s: %w", topic, err)
	}
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ends of %s: %w", topic, err)
	}
	from, left := map[int32]kgo.Offset{}, map[int32]int64{}
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := first.Lookup(topic, end.Partition); ok && end.Offset > start.Offset {
			from[end.Partition], left[end.Partition] = kgo.NewOffset().At(start.Offset), end.Offset
		}
	})
	return read(ctx, topic, from, left, options)
}

// read reads partitions from some offsets to the ends that are left to reach.
func read(ctx context.Context, topic string, from map[int32]kgo.Offset, left map[int32]int64, options []kgo.Opt) ([]*kgo.Record, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), // they show that the end was reached
	}, options...)...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var all []*kgo.Record
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read %s: %w", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, wanted := left[r.Partition]
			if wanted && r.Offset < end && !r.Attrs.IsControl() {
				all = append(all, r)
			}
			if r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		})
	}
	return all, nil
}

// Records gives records the checker's form. They share their memory.
func Records(all []*kgo.Record) []checker.Record {
	records := make([]checker.Record, len(all))
	for i, r := range all {
		records[i] = checker.Record{Topic: r.Topic, Partition: int(r.Partition), Offset: r.Offset, Timestamp: r.Timestamp,
			Key: r.Key, Value: r.Value, ProducerID: r.ProducerID, ProducerEpoch: r.ProducerEpoch}
		for _, h := range r.Headers {
			records[i].Headers = append(records[i].Headers, checker.Header{Key: h.Key, Value: h.Value})
		}
	}
	return records
}

// offsetsTopic is where a group's coordinator keeps the commits. It is
// compacted, but never within the segment that is being written.
const offsetsTopic = "__consumer_offsets"

// Commits reads every offset commit of a group, in the order in which the
// coordinator applied them.
func Commits(ctx context.Context, group string, options ...kgo.Opt) ([]checker.Commit, error) {
	client, err := kgo.NewClient(options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, offsetsTopic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("ends of %s: %w", offsetsTopic, err)
	}
	p := partitionOf(group, len(ends[offsetsTopic]))
	end, _ := ends.Lookup(offsetsTopic, p)
	if end.Offset == 0 {
		return nil, nil
	}
	all, err := read(ctx, offsetsTopic, map[int32]kgo.Offset{p: kgo.NewOffset().AtStart()}, map[int32]int64{p: end.Offset}, options)
	if err != nil {
		return nil, err
	}
	var commits []checker.Commit
	for _, r := range all {
		c, ours, err := decode(r, group)
		if err != nil {
			return nil, fmt.Errorf("%s/%d at offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		if ours {
			commits = append(commits, c)
		}
	}
	return commits, nil
}

// partitionOf is where a group's commits stand: by Java's hash of its name,
// without a sign.
func partitionOf(group string, partitions int) int32 {
	hash := int32(0)
	for _, r := range group { // names here are ASCII
		hash = 31*hash + r
	}
	if hash == math.MinInt32 {
		hash = 0
	}
	return max(hash, -hash) % int32(partitions)
}

// maxCommitKey is the newest version of a key that stands for a commit; others
// stand for the group itself.
const maxCommitKey = 1

// decode reads a record of the offsets topic; ours is false where it is not a
// commit of the group. One without a value takes the commit back, as when the
// topic is deleted.
func decode(r *kgo.Record, group string) (c checker.Commit, ours bool, err error) {
	if len(r.Key) < 2 || binary.BigEndian.Uint16(r.Key) > maxCommitKey {
		return c, false, nil
	}
	key, value := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
	if err := key.ReadFrom(r.Key); err != nil {
		return c, false, fmt.Errorf("decode a commit's key: %w", err)
	}
	c = checker.Commit{Group: key.Group, Topic: key.Topic, Partition: int(key.Partition), Offset: -1, At: r.Timestamp}
	if r.Value == nil {
		return c, key.Group == group, nil
	}
	if err := value.ReadFrom(r.Value); err != nil {
		return c, false, fmt.Errorf("decode a commit: %w", err)
	}
	c.Offset, c.Metadata, c.At = value.Offset, value.Metadata, time.UnixMilli(value.CommitTimestamp)
	return c, key.Group == group, nil
}
