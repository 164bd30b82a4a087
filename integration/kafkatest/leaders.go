package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Leader is the broker that leads a partition.
func (c *Cluster) Leader(topic string, partition int) int {
	c.tb.Helper()
	return c.find("the leader of "+topic, func(ctx context.Context, admin *kadm.Client) (int32, error) {
		found, err := admin.Metadata(ctx, topic)
		if err != nil {
			return -1, err
		}
		p, ok := found.Topics[topic].Partitions[int32(partition)]
		if !ok {
			return -1, fmt.Errorf("there is no partition %d", partition)
		}
		return p.Leader, p.Err
	})
}

// GroupCoordinator is the broker that coordinates a group.
func (c *Cluster) GroupCoordinator(group string) int {
	c.tb.Helper()
	return c.find("the coordinator of group "+group, func(ctx context.Context, admin *kadm.Client) (int32, error) {
		found := admin.FindGroupCoordinators(ctx, group)[group]
		return found.NodeID, found.Err
	})
}

// TransactionCoordinator is the broker that coordinates a transactional id.
func (c *Cluster) TransactionCoordinator(id string) int {
	c.tb.Helper()
	return c.find("the coordinator of transactional id "+id, func(ctx context.Context, admin *kadm.Client) (int32, error) {
		found := admin.FindTxnCoordinators(ctx, id)[id]
		return found.NodeID, found.Err
	})
}

// MoveLeaders makes another replica the leader of each partition of a topic,
// by a clean election: the next one in the order of assignment.
func (c *Cluster) MoveLeaders(topic string) {
	c.tb.Helper()
	order := kadm.AlterPartitionAssignmentsReq{}
	err := c.administer(func(ctx context.Context, admin *kadm.Client) error {
		found, err := admin.Metadata(ctx, topic)
		if err != nil {
			return err
		}
		for _, p := range found.Topics[topic].Partitions {
			if len(p.Replicas) < 2 {
				return fmt.Errorf("partition %d has replicas %v", p.Partition, p.Replicas)
			}
			order.Assign(topic, p.Partition, append(p.Replicas[1:len(p.Replicas):len(p.Replicas)], p.Replicas[0]))
		}
		return nil
	})
	if err == nil {
		err = c.administer(func(ctx context.Context, admin *kadm.Client) error { return assign(ctx, admin, order) })
	}
	if err != nil {
		c.tb.Errorf("move the leaders of %s: %v", topic, err)
	}
}

// assign orders replicas, the first of which is to lead, until it does.
func assign(ctx context.Context, admin *kadm.Client, order kadm.AlterPartitionAssignmentsReq) error {
	assigned, err := admin.AlterPartitionAssignments(ctx, order)
	if err == nil {
		err = assigned.Error()
	}
	if err != nil {
		return err
	}
	all := kadm.TopicsSet{}
	for topic, partitions := range order {
		all.Add(topic, slices.Collect(maps.Keys(partitions))...)
	}
	if err := electPreferred(ctx, admin, all); err != nil {
		return err
	}
	found, err := admin.Metadata(ctx, all.Topics()...)
	if err != nil {
		return err
	}
	for topic, partitions := range order {
		for p, replicas := range partitions {
			if leader := found.Topics[topic].Partitions[p].Leader; leader != replicas[0] {
				return fmt.Errorf("partition %d is led by %d, not by %d", p, leader, replicas[0])
			}
		}
	}
	return nil
}

// electPreferred gives every partition the leader that its assignment names first.
func electPreferred(ctx context.Context, admin *kadm.Client, partitions kadm.TopicsSet) error {
	results, err := admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, partitions)
	if err != nil {
		return err
	}
	for _, topic := range results {
		for _, p := range topic {
			if p.Err != nil && !errors.Is(p.Err, kerr.ElectionNotNeeded) {
				return fmt.Errorf("elect the leader of %s/%d: %w", p.Topic, p.Partition, p.Err)
			}
		}
	}
	return nil
}

// find asks until a broker is named; it fails the test where none is.
func (c *Cluster) find(what string, ask func(context.Context, *kadm.Client) (id int32, err error)) int {
	c.tb.Helper()
	found := int32(-1)
	err := c.administer(func(ctx context.Context, admin *kadm.Client) (err error) {
		if found, err = ask(ctx, admin); err == nil && found < 1 {
			err = errors.New("none is named")
		}
		return err
	})
	if err != nil {
		c.tb.Fatalf("find %s: %v", what, err)
	}
	return int(found) - 1
}

// administer repeats an administrator's act until it succeeds.
func (c *Cluster) administer(act func(context.Context, *kadm.Client) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Admin()...))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return poll(ctx, func(ctx context.Context) error { return act(ctx, kadm.NewClient(client)) })
}
