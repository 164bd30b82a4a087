package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/worker"
	"smscancel/worker/status"
)

// Run takes part in the group until ctx ends, then drains every partition,
// commits, and leaves. It returns an error only for what cannot be mended by
// waiting.
func (c *Consumer) Run(ctx context.Context) error {
	c.ctx = context.WithoutCancel(ctx)
	group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: c.Group, Brokers: c.Brokers, Dialer: memberDialer(c.Dialer, &c.leaving), Topics: c.Topics,
		GroupBalancers:    []kafka.GroupBalancer{&balancer{claims: c.claims, saw: c.assigns}},
		SessionTimeout:    c.SessionTimeout,
		HeartbeatInterval: max(min(c.SessionTimeout/30, 300*time.Millisecond), 50*time.Millisecond), // how soon a member hears of a rebalance
		RebalanceTimeout:  c.SessionTimeout,                                                         // members rejoin at once: their sessions live outside the generation
		JoinGroupBackoff:  200 * time.Millisecond,
		StartOffset:       kafka.FirstOffset,
	})
	if err != nil {
		return fmt.Errorf("join group %s: %w", c.Group, err)
	}
	loop, stop := context.WithCancel(c.ctx)
	var done sync.WaitGroup
	done.Go(func() { c.generations(loop, group) })
	<-ctx.Done()
	c.drainAll()
	stop()
	done.Wait()
	c.leave(group)
	return nil
}

// leave ends the membership, so that the others need not wait for the session
// timeout. Without a coordinator they must.
func (c *Consumer) leave(group *kafka.ConsumerGroup) {
	c.leaving.Store(true)
	left := make(chan struct{})
	go func() {
		group.Close() //nolint:errcheck // it always returns nil
		close(left)
	}()
	timeout := time.NewTimer(leaveTimeout)
	defer timeout.Stop()
	select {
	case <-left:
	case <-timeout.C:
		c.Log.Warn().Str("group", c.Group).Msg("could not leave the group; its coordinator will notice by the session timeout")
	}
}

const (
	leaveTimeout = 2 * time.Second
	rejoinPause  = 100 * time.Millisecond // kafka-go makes none after a rebalance, nor after a generation that it knows no error of
)

// generations serves one generation of the group after another.
func (c *Consumer) generations(ctx context.Context, group *kafka.ConsumerGroup) {
	for {
		gen, err := group.Next(ctx)
		if err != nil && ctx.Err() != nil {
			return
		}
		if err != nil {
			c.troubled(err)
			worker.Sleep(ctx, rejoinPause)
			continue
		}
		ended := make(chan struct{})
		gen.Start(func(genCtx context.Context) {
			defer close(ended)
			c.serve(genCtx, gen)
		})
		select {
		case <-ended:
		case <-ctx.Done():
			return
		}
	}
}

// troubled notes why there is no generation, and says so when it is news.
func (c *Consumer) troubled(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.trouble == "" && errors.Is(err, kafka.RebalanceInProgress) {
		return
	}
	c.trouble = status.Reason(err)
	if !c.said[c.trouble] { // each of them once: a broker that is down has more than one answer
		c.said[c.trouble] = true
		c.Log.Warn().Err(err).Str("group", c.Group).Msg("not in the group, trying again")
	}
}

// enter notes that this member takes part in a generation. If it was absent from
// one, what it held may have been given to somebody else, whose commits it must
// not overwrite.
func (c *Consumer) enter(gen *kafka.Generation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if gen.ID != c.entered+1 {
		for _, h := range c.holds {
			h.lapsed = true
		}
	}
	c.entered = gen.ID
}

// serve is one generation: take what is assigned, hand over what is not, commit.
// Returning ends the generation, and this member rejoins.
func (c *Consumer) serve(ctx context.Context, gen *kafka.Generation) {
	c.enter(gen)
	assigned := assignment(gen)
	commits, err := c.readCommits(ctx, c.withHeld(assigned))
	if err == nil {
		err = c.readPartitions(ctx)
	}
	if err != nil {
		c.troubled(err)
		worker.Sleep(ctx, time.Second)
		return
	}
	handedOver := c.assign(gen, assigned, commits)
	defer c.left()
	tick := time.NewTicker(commitInterval)
	defer tick.Stop()
	go c.watchOutcomeTopic(ctx)
	changed := c.watchRequestTopics(ctx)
	failing := false
	for {
		err := c.commit(context.WithoutCancel(ctx), gen)
		if err != nil && !failing {
			c.Log.Warn().Err(err).Int32("generation", gen.ID).Msg("commit failed, trying again")
		}
		if errors.Is(err, errUnknownEnd) { // no lease may be raised in this generation any more
			worker.Sleep(ctx, rejoinPause)
			return
		}
		if failing = err != nil; failing {
			worker.Sleep(ctx, 100*time.Millisecond)
		}
		select {
		case <-ctx.Done():
			// A rebalance: what is settled by now need not be replayed by others.
			if err := c.commit(context.WithoutCancel(ctx), gen); err != nil {
				c.Log.Debug().Err(err).Int32("generation", gen.ID).Msg("last commit of the generation failed")
			}
			return
		case <-handedOver:
			return
		case <-changed:
			return
		case <-tick.C:
		case <-c.wakeCommit:
		}
	}
}

// withHeld adds the partitions that this member still holds to those that it is
// assigned: their commits tell whether somebody else has owned them.
func (c *Consumer) withHeld(tps []topicPartition) []topicPartition {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(tps)
	for tp := range c.holds {
		if !slices.Contains(tps, tp) {
			all = append(all, tp)
		}
	}
	return all
}

// left notes that a generation is over.
func (c *Consumer) left() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outside = time.Now()
}

func assignment(gen *kafka.Generation) []topicPartition {
	var tps []topicPartition
	for topic, partitions := range gen.Assignments {
		for _, p := range partitions {
			tps = append(tps, topicPartition{topic, p.ID})
		}
	}
	return tps
}

// assign makes the holds follow an assignment. The channel it returns is closed
// when everything that this member claimed and must give up has been handed over;
// it is nil if that is nothing.
func (c *Consumer) assign(gen *kafka.Generation, tps []topicPartition, commits map[topicPartition]committed) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.member, c.trouble, c.outside = gen, "", time.Time{}
	clear(c.said)
	c.assigned = map[topicPartition]bool{}
	for _, tp := range tps {
		c.assigned[tp] = true
	}
	c.Handler.Metrics.Rebalances.Inc()
	var leaving []*hold
	for tp, h := range c.holds {
		if now, ok := commits[tp]; ok {
			h.check(now) // also one that is to be given up: it must not commit over its new owner
		}
		if c.assigned[tp] {
			h.generation, h.lapsed = gen.ID, false
			continue
		}
		leaving = append(leaving, h)
		c.letGo(h, c.AttemptTimeout+time.Second)
	}
	for _, tp := range tps {
		if c.holds[tp] == nil {
			c.start(tp)
		}
	}
	c.Log.Info().Int32("generation", gen.ID).Str("member", gen.MemberID).Int("assigned", len(tps)).
		Int("handingOver", len(leaving)).Msg("joined the group")
	if len(leaving) == 0 && !c.claimedMore() {
		return nil
	}
	return allReleased(leaving)
}

// claimedMore tells whether this member claimed a partition that it was not
// assigned: then nobody was. It may have released it since it joined, and the
// next generation must come all the same. c.mu is held.
func (c *Consumer) claimedMore() bool {
	for tp := range c.claimed {
		if !c.assigned[tp] {
			return true
		}
	}
	return false
}

func allReleased(holds []*hold) <-chan struct{} {
	all := make(chan struct{})
	go func() {
		for _, h := range holds {
			<-h.released
		}
		close(all)
	}()
	return all
}

// start takes a partition; c.mu is held.
func (c *Consumer) start(tp topicPartition) {
	if c.stopping {
		return
	}
	h := c.newHold(tp)
	h.generation = c.member.ID
	c.holds[tp] = h
	go h.run()
}

// letGo releases a hold in the background, and takes the partition again if it
// was assigned to this member meanwhile; c.mu is held.
func (c *Consumer) letGo(h *hold, timeout time.Duration) {
	if h.leaving {
		return
	}
	h.leaving = true
	go func() {
		h.release(timeout, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.holds, h.tp)
			if c.assigned[h.tp] {
				c.start(h.tp)
			}
		})
	}()
}

// drainAll releases every partition at shutdown.
func (c *Consumer) drainAll() {
	c.mu.Lock()
	c.stopping = true
	holds := slices.Collect(maps.Values(c.holds))
	for _, h := range holds {
		c.letGo(h, max(c.DrainTimeout-finalCommitTimeout-leaveTimeout, c.DrainTimeout/2))
	}
	c.mu.Unlock()
	for _, h := range holds {
		<-h.released
	}
}

// confirm asks the coordinator whether a partition is still this member's. Who
// has lost it must not fence its new owner. A rebalance is waited for.
func (c *Consumer) confirm(ctx context.Context, tp topicPartition) error {
	deadline := time.Now().Add(confirmTimeout)
	for {
		err := c.confirmNow(ctx, tp)
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		worker.Sleep(ctx, 100*time.Millisecond)
	}
}

const confirmTimeout = 10 * time.Second

func (c *Consumer) confirmNow(ctx context.Context, tp topicPartition) error {
	c.mu.Lock()
	gen, assigned := c.member, c.assigned[tp]
	c.mu.Unlock()
	if gen == nil || !assigned {
		return errNotAssigned
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if err := Heartbeat(ctx, c.Client, gen.GroupID, gen.ID, gen.MemberID); err != nil {
		return fmt.Errorf("confirm membership in generation %d: %w", gen.ID, err)
	}
	return nil
}

var errNotAssigned = errors.New("not assigned to this member")

// claims is what this member tells the leader when it joins.
func (c *Consumer) claims() claims {
	c.mu.Lock()
	defer c.mu.Unlock()
	own := claims{Version: 1, Outcomes: c.OutcomeTopic, N: c.N, Owned: map[string]map[int]int32{}}
	c.claimed = map[topicPartition]bool{}
	for tp, h := range c.holds {
		c.claimed[tp] = true
		if own.Owned[tp.topic] == nil {
			own.Owned[tp.topic] = map[int]int32{}
		}
		own.Owned[tp.topic][tp.partition] = h.generation
	}
	return own
}
