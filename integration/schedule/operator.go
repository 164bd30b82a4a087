package schedule

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/integration/checker"
)

// retain deletes the oldest records of a request partition, as retention does:
// those that are settled, and N more, which need no outcome.
func (w *world) retain(e *Event) {
	topic := requestTopics[e.Topic]
	info := w.cluster.PartitionInfo(topic, int32(e.Partition))
	to := min(w.committedOffset(topic, int32(e.Partition))+e.N, info.HighWatermark)
	if to <= info.LogStartOffset || w.madeAgain(topic) {
		return
	}
	if err := w.cluster.DeleteRecords(topic, int32(e.Partition), to); err != nil {
		panic(err)
	}
	w.tale.tell("records below %s/%d/%d are deleted", topic, e.Partition, to)
	if e.N > 0 {
		w.abandon(topic, e.Partition, to)
	}
}

// madeAgain tells whether the commits of a topic may be those of its predecessor
// of the same name: then they say nothing of what is settled.
func (w *world) madeAgain(topic string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logs[topic] > 0
}

// abandon notes that records below an offset need no outcome.
func (w *world) abandon(topic string, partition int, offset int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lostBelow[topic] == nil {
		w.lostBelow[topic] = map[int]int64{}
	}
	w.lostBelow[topic][partition] = max(w.lostBelow[topic][partition], offset)
}

func (w *world) committedOffset(topic string, partition int32) int64 {
	if info := w.cluster.GroupInfo(group); info != nil {
		return info.Commits[topic][partition].Offset
	}
	return 0
}

// recreate deletes a request topic and creates it again under the same name,
// once its requests have their outcomes: what is lost with a topic is nobody's
// promise.
func (w *world) recreate(e *Event) {
	topic := requestTopics[e.Topic]
	for range 60 {
		if len(w.behind()) == 0 {
			break
		}
		time.Sleep(time.Second)
	}
	w.mu.Lock()
	abandoned := len(w.lostBelow[topic]) > 0 // the checker tells offsets apart, not logs
	w.mu.Unlock()
	if len(w.behind()) > 0 || abandoned || w.bearsNoMark(topic) {
		w.tale.tell("%s is not done, and stays", topic)
		return
	}
	if err := w.cluster.DeleteTopic(topic); err != nil {
		panic(err)
	}
	w.tale.tell("%s is deleted", topic)
	w.mu.Lock()
	for p := range w.plan.Setting.Partitions {
		for _, g := range []string{group, rivalGroup} {
			w.commits = append(w.commits, checker.Commit{Group: g, Topic: topic, Partition: p, Offset: -1, At: time.Now()})
		}
	}
	w.mu.Unlock()
	time.Sleep(e.For)
	if err := w.createRequests(topic); err != nil {
		panic(err)
	}
	w.tale.tell("%s is created again", topic)
	w.mu.Lock()
	w.logs[topic]++
	delete(w.lostBelow, topic)
	w.mu.Unlock()
	w.client.Close() // it knows the old topic
	var err error
	if w.client, err = w.newClient(); err != nil {
		panic(err)
	}
}

// bearsNoMark tells whether a partition holds nothing but requests of aborted
// transactions: a worker cannot tell such a log from the one that follows it.
func (w *world) bearsNoMark(topic string) bool {
	commits := w.cluster.GroupInfo(group).Commits[topic]
	for _, p := range w.cluster.PartitionInfos(topic) {
		if p.HighWatermark > 0 && !strings.Contains(commits[p.Partition].Metadata, `"last":`) {
			return true
		}
	}
	return false
}

// Text is the metadata that an operator's tool leaves beside an offset.
type Text string

const (
	NoText      Text = ""
	ForeignText Text = `{"v":1,"cluster":"another","outcomes":"outcomes","n":1,"offset":0,"ledger":0,"lease":-1}`
	OtherText   Text = "set by hand"
	KeptText    Text = "as it was"
)

// everyPartition stands for all request partitions.
const everyPartition = -1

// reset sets the group's offsets by N records, back or forward, as an operator
// does: while no member is there.
func (w *world) reset(e *Event) {
	w.each(-1, func(r *replica) {
		if e.Crash {
			w.crash(r.link)
		} else {
			r.stop()
		}
	})
	if !w.awaitEmptyGroup() {
		w.tale.tell("the group does not become empty")
		return
	}
	for t, topic := range w.topics() {
		for p := range w.plan.Setting.Partitions {
			if e.Partition == everyPartition || e.Topic == t && e.Partition == p {
				w.setOffset(topic, int32(p), e.N, e.Text)
			}
		}
	}
	for slot := range w.plan.Setting.Replicas {
		w.start(slot)
	}
}

func (w *world) setOffset(topic string, partition int32, by int64, text Text) {
	if w.madeAgain(topic) {
		return
	}
	log := w.cluster.PartitionInfo(topic, partition)
	was := w.committedOffset(topic, partition)
	offset := min(max(was+by, log.LogStartOffset), log.HighWatermark)
	if text == KeptText {
		text = Text(w.cluster.GroupInfo(group).Commits[topic][partition].Metadata)
	}
	if err := w.commitOffset(topic, partition, offset, string(text)); err != nil {
		panic(err)
	}
	w.tale.tell("the offset of %s/%d is set from %d to %d", topic, partition, was, offset)
	if offset > was {
		w.abandon(topic, int(partition), offset)
	}
}

func (w *world) awaitEmptyGroup() bool {
	for range 300 {
		info := w.cluster.GroupInfo(group)
		if info == nil {
			return false
		}
		if len(info.Members) == 0 && info.State == "Empty" {
			return true
		}
		time.Sleep(time.Second)
	}
	return false
}

func (w *world) commitOffset(topic string, partition int32, offset int64, metadata string) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	t, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	t.Topic, t.TopicID = topic, w.cluster.TopicInfo(topic).TopicID
	p.Partition, p.Offset, p.Metadata = partition, offset, &metadata
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	res, err := req.RequestWith(context.Background(), w.client)
	if err != nil {
		return err
	}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("set the offset of %s/%d: %w", topic, partition, err)
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commits = append(w.commits, checker.Commit{Topic: topic, Partition: int(partition), Offset: offset, Metadata: metadata, At: time.Now()})
	return nil
}

func (w *world) newClient(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.Dialer(w.own.dialKafka), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
}
