package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
)

const (
	commitInterval = time.Second
	commitTimeout  = 5 * time.Second
)

// readCommits reads the group's commits of some partitions.
func (c *Consumer) readCommits(ctx context.Context, tps []topicPartition) (map[topicPartition]committed, error) {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	req := &kafka.OffsetFetchRequest{GroupID: c.Group, Topics: map[string][]int{}}
	for _, tp := range tps {
		req.Topics[tp.topic] = append(req.Topics[tp.topic], tp.partition)
	}
	commits := map[topicPartition]committed{}
	if len(tps) == 0 {
		return commits, nil
	}
	res, err := c.Client.OffsetFetch(ctx, req)
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return nil, fmt.Errorf("read the commits of group %s: %w", c.Group, err)
	}
	for topic, partitions := range res.Topics {
		for _, p := range partitions {
			if p.Error != nil {
				return nil, fmt.Errorf("read the commit of %s/%d: %w", topic, p.Partition, p.Error)
			}
			commits[topicPartition{topic, p.Partition}] = parseCommitted(p.CommittedOffset, p.Metadata)
		}
	}
	for _, tp := range tps {
		if _, ok := commits[tp]; !ok {
			return nil, fmt.Errorf("read the commits of group %s: no answer for %s/%d", c.Group, tp.topic, tp.partition)
		}
	}
	return commits, nil
}

// draft is one partition's part of a commit request.
type draft struct {
	hold    *hold
	session *session // nil for a takeover in progress
	what    commitment
	final   bool
}

// drafts collects what there is to commit: partitions of this generation, and
// those that this member is draining, unless they may be somebody else's by now.
func (c *Consumer) drafts() []draft {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []draft
	for tp, h := range c.holds {
		s, state := h.current()
		if claimed := h.claims(); s == nil && claimed != nil && c.assigned[tp] {
			all = append(all, draft{hold: h, what: *claimed})
		}
		if s == nil || !s.mayCommit() || h.lapsed || (!c.assigned[tp] && state != StateDraining) {
			continue
		}
		final := s.drained.Load()
		what, news, err := s.commitment()
		if err != nil {
			s.fail(err)
			continue
		}
		if news || final {
			all = append(all, draft{hold: h, session: s, what: what, final: final})
		}
	}
	return all
}

// errUnknownEnd says that a commit may or may not have been applied.
var errUnknownEnd = errors.New("commit of unknown end")

// commit sends one OffsetCommit request with everything that is news. After an
// errUnknownEnd no lease may be raised in this generation: a delayed request
// could still undo it.
func (c *Consumer) commit(ctx context.Context, gen *kafka.Generation) error {
	all := c.drafts()
	if len(all) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	sent := time.Now()
	m, err := c.Client.Transport.RoundTrip(ctx, c.Client.Addr, commitRequest(gen, all))
	if err != nil {
		err = fmt.Errorf("%w: %w", errUnknownEnd, err)
		for _, d := range all {
			d.refused(sent, err)
		}
		return err
	}
	codes := map[topicPartition]kafka.Error{}
	for _, topic := range m.(*offsetcommit.Response).Topics {
		for _, p := range topic.Partitions {
			codes[topicPartition{topic.Name, int(p.PartitionIndex)}] = kafka.Error(p.ErrorCode)
		}
	}
	var failed error
	for _, d := range all {
		if err := verdict(codes, d.hold.tp); err != nil {
			d.refused(sent, err)
			failed = errors.Join(failed, err)
			continue
		}
		d.hold.acknowledge(d.session, d.what, d.final, sent)
	}
	return failed
}

// verdict is what an answer says about the commit of a partition.
func verdict(codes map[topicPartition]kafka.Error, tp topicPartition) error {
	code, ok := codes[tp]
	switch {
	case !ok:
		return fmt.Errorf("%w: no answer for %s/%d", errUnknownEnd, tp.topic, tp.partition)
	case code == kafka.RequestTimedOut:
		return fmt.Errorf("%w: %w", errUnknownEnd, code)
	case code != 0:
		return fmt.Errorf("commit of %s/%d: %w", tp.topic, tp.partition, code)
	}
	return nil
}

// refused notes that a commit was not acknowledged, whatever came instead.
func (d draft) refused(sent time.Time, err error) {
	if d.session != nil {
		d.session.refused.CompareAndSwap(nil, &trouble{sent, err})
	}
}

func commitRequest(gen *kafka.Generation, all []draft) *offsetcommit.Request {
	req := &offsetcommit.Request{GroupID: gen.GroupID, GenerationID: gen.ID, MemberID: gen.MemberID, RetentionTimeMs: -1}
	byTopic := map[string][]offsetcommit.RequestPartition{}
	for _, d := range all {
		byTopic[d.hold.tp.topic] = append(byTopic[d.hold.tp.topic], offsetcommit.RequestPartition{
			PartitionIndex: int32(d.hold.tp.partition), CommittedOffset: d.what.offset,
			CommittedLeaderEpoch: -1, CommittedMetadata: d.what.text,
		})
	}
	for topic, partitions := range byTopic {
		req.Topics = append(req.Topics, offsetcommit.RequestTopic{Name: topic, Partitions: partitions})
	}
	return req
}
