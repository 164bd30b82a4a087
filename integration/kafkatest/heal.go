package kafkatest

import (
	"context"
	"errors"
	"fmt"

	"github.com/moby/moby/client"
	"github.com/twmb/franz-go/pkg/kadm"
)

// Heal ends every fault of a cluster and returns when it is as good as new:
// every broker serves, every replica is in sync, every partition is led by its
// preferred leader. Tests that share a cluster end with it.
func (c *Cluster) Heal() {
	c.tb.Helper()
	if c.brokers[0].proxy != nil {
		c.Detour().Heal()
	}
	var down []int
	for i, b := range c.brokers {
		state, err := c.docker.ContainerInspect(context.Background(), b.container.GetContainerID(), client.ContainerInspectOptions{})
		switch {
		case err != nil:
			c.tb.Errorf("inspect broker %d: %v", i, err)
		case state.Container.State.Paused:
			c.Unpause(i)
		case !state.Container.State.Running:
			down = append(down, i)
		}
	}
	c.StartAgain(down...)
	if err := c.administer(inSync); err != nil {
		c.tb.Errorf("heal Kafka: %v", err)
	}
}

// inSync refuses unless every partition has all its replicas in sync, and its
// preferred leader.
func inSync(ctx context.Context, admin *kadm.Client) error {
	topics, err := admin.ListTopicsWithInternal(ctx)
	if err == nil {
		err = topics.Error()
	}
	if err != nil {
		return err
	}
	var missing []error
	topics.EachPartition(func(p kadm.PartitionDetail) {
		if p.Err != nil || p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
			missing = append(missing, fmt.Errorf("%s/%d: leader %d, in sync %v of %v: %w", p.Topic, p.Partition, p.Leader, p.ISR, p.Replicas, p.Err))
		}
	})
	if len(missing) > 0 {
		return errors.Join(missing...)
	}
	return electPreferred(ctx, admin, topics.TopicsSet())
}
