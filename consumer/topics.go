package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/worker"
)

// checkInterval is how often a member looks whether a topic has changed.
const checkInterval = 5 * time.Second

// watchOutcomeTopic gives every partition up when the outcome topic gets another
// partition count: outcomes would no longer stand where they are looked for. Those
// of the calls in hand still do, and what is committed then is a clean end. The
// takeover that follows refuses, and says why.
func (c *Consumer) watchOutcomeTopic(ctx context.Context) {
	var changed *worker.PartitionCountError
	for ctx.Err() == nil {
		if err := c.Outcomes.Check(ctx); errors.As(err, &changed) {
			c.mu.Lock()
			for _, h := range c.holds {
				if s, _ := h.current(); s != nil {
					c.letGo(h, c.AttemptTimeout+time.Second)
				}
			}
			c.mu.Unlock()
		}
		worker.Sleep(ctx, checkInterval)
	}
}

// watchRequestTopics closes the channel it returns when a request topic has other
// partitions than this generation was assigned of, or none. What was assigned of
// only the leader knows; it may have been less than there was a moment later, when
// every member read the partitions. kafka-go can watch, too, but
// while a topic is missing it goes from one generation to the next without a pause.
func (c *Consumer) watchRequestTopics(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{})
	of := c.assignedOf.Swap(nil)
	if of == nil {
		of = c.partitions.Load()
	}
	go func() {
		for worker.Sleep(ctx, checkInterval) == nil {
			now, err := c.findPartitions(ctx)
			if errors.Is(err, kafka.UnknownTopicOrPartition) || err == nil && !maps.EqualFunc(now, *of, slices.Equal) {
				c.Log.Info().Err(err).Msg("the partitions of the request topics have changed")
				close(changed)
				return
			}
		}
	}()
	return changed
}

// assigns notes what this member, as leader, assigns the group.
func (c *Consumer) assigns(all map[string][]int) { c.assignedOf.Store(&all) }

// readPartitions learns the partitions of the request topics, which the check
// of keys needs.
func (c *Consumer) readPartitions(ctx context.Context) error {
	found, err := c.findPartitions(ctx)
	if err == nil {
		c.partitions.Store(&found)
		c.tellShare()
	}
	return err
}

// part is what a partition of a topic has of what the lanes share evenly, and the
// partitions of a lane; 0 while it is not known how many those are.
func (c *Consumer) part(topic string) float64 {
	if known := c.partitions.Load(); known != nil && len((*known)[topic]) > 0 {
		return 1 / float64(len(c.Topics)*len((*known)[topic]))
	}
	return 0
}

func (c *Consumer) findPartitions(ctx context.Context) (map[string][]int, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	res, err := c.Client.Metadata(ctx, &kafka.MetadataRequest{Topics: c.Topics})
	if err != nil {
		return nil, fmt.Errorf("read the partitions of the request topics: %w", err)
	}
	found := map[string][]int{}
	for _, topic := range res.Topics {
		if topic.Error != nil {
			return nil, fmt.Errorf("request topic %s: %w", topic.Name, topic.Error)
		}
		for _, p := range topic.Partitions {
			found[topic.Name] = append(found[topic.Name], p.ID)
		}
		slices.Sort(found[topic.Name])
	}
	return found, nil
}
