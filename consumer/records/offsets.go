package records

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
)

// Earliest is the first offset of a partition that is kept.
func (c *Client) Earliest(ctx context.Context, topic string, partition int) (int64, error) {
	return c.listOffset(ctx, topic, partition, kafka.FirstOffset, kafka.ReadUncommitted)
}

// Latest is the offset after the last record of a partition: its high
// watermark.
func (c *Client) Latest(ctx context.Context, topic string, partition int) (int64, error) {
	return c.listOffset(ctx, topic, partition, kafka.LastOffset, kafka.ReadUncommitted)
}

// LatestStable is the offset below which no transaction of a partition is open.
func (c *Client) LatestStable(ctx context.Context, topic string, partition int) (int64, error) {
	return c.listOffset(ctx, topic, partition, kafka.LastOffset, kafka.ReadCommitted)
}

// ByTime is the offset of the first record whose timestamp is at or after t.
// Without such a record it is -1 and false.
func (c *Client) ByTime(ctx context.Context, topic string, partition int, t time.Time) (offset int64, found bool, err error) {
	// Negative timestamps are commands of the protocol, not times.
	ms := max(t.UnixMilli(), 0)
	offset, err = c.listOffset(ctx, topic, partition, ms, kafka.ReadUncommitted)
	if err != nil || offset < 0 {
		return -1, false, err
	}
	return offset, true, nil
}

// listOffset asks the protocol and not kafka.Client, which answers with a map
// of times and leaves out what the broker leaves out.
func (c *Client) listOffset(ctx context.Context, topic string, partition int, at int64, isolation kafka.IsolationLevel) (int64, error) {
	ctx, cancel := withDeadline(ctx, exchangeSlack)
	defer cancel()
	res, err := c.Transport.RoundTrip(ctx, c.Addr, &listoffsets.Request{
		ReplicaID:      noReplica,
		IsolationLevel: int8(isolation),
		Topics: []listoffsets.RequestTopic{{
			Topic: topic,
			Partitions: []listoffsets.RequestPartition{{
				Partition: int32(partition), CurrentLeaderEpoch: noLeaderEpoch, Timestamp: at,
			}},
		}},
	})
	if err != nil {
		return -1, fmt.Errorf("list offsets of %s/%d: %w", topic, partition, err)
	}
	offset, err := answeredOffset(res, topic, partition)
	if err != nil {
		return -1, fmt.Errorf("list offsets of %s/%d: %w", topic, partition, err)
	}
	return offset, nil
}

func answeredOffset(res kafka.Response, topic string, partition int) (int64, error) {
	answer, ok := res.(*listoffsets.Response)
	if !ok {
		return -1, fmt.Errorf("transport answered with a %T", res)
	}
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if t.Topic != topic || int(p.Partition) != partition {
				continue
			}
			if p.ErrorCode != 0 {
				return -1, kafka.Error(p.ErrorCode)
			}
			return p.Offset, nil
		}
	}
	return -1, errors.New("the response is not about this partition")
}
