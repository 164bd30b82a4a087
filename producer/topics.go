package producer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/worker"
)

// maxRecordBytes is a request of the largest value, with its key and room for headers.
const maxRecordBytes = worker.MaxRequestSize + 4<<10

// shortRetention is what an outage may take on a weekend.
const shortRetention = 72 * time.Hour

// CheckRequests compares the settings of a request topic with what it needs.
// Nothing of it stops a worker. An error means that nothing could be found out yet.
func (l *Ledger) CheckRequests(ctx context.Context, topic string) (Settings, error) {
	var found Settings
	configs, err := l.describe(ctx, []string{topic})
	if err != nil {
		return found, err
	}
	c, ok := configs[topic]
	if !ok {
		found.warn("the settings of topic %s may not be read (DescribeConfigs): check them by hand", topic)
		return found, nil
	}
	if strings.Contains(c["cleanup.policy"], "compact") {
		found.fatal("topic %s has cleanup.policy=%s: compaction deletes requests of which nobody has seen the outcome; set it to delete", topic, c["cleanup.policy"])
	}
	if n := c.number("retention.bytes"); n >= 0 && c["retention.bytes"] != "" {
		found.warn("topic %s has retention.bytes=%d: a backlog beyond that is deleted unread; set it to -1", topic, n)
	}
	if d := c.retention(); d >= 0 && d < shortRetention {
		found.warn("topic %s has retention.ms=%d (%s): requests that wait longer, in an outage or a pause, are deleted unread; raise it to %d or more",
			topic, d.Milliseconds(), d, shortRetention.Milliseconds())
	}
	if n := c.number("max.message.bytes"); n > 0 && n < maxRecordBytes {
		found.warn("topic %s has max.message.bytes=%d: a request can have %d, and its producer is refused; raise it", topic, n, maxRecordBytes)
	}
	found.checkReplication(topic, "requests", c, replication(ctx, l.Client, topic))
	return found, nil
}

// Plan is a topic as it should be.
type Plan struct {
	Topic       string
	Partitions  int
	Replication int // 0 = three, or as many as there are brokers
	Settings    []Setting
}

// Setting is one of a topic's.
type Setting struct{ Name, Value string }

// PlanRequests is a request topic that nobody objects to.
func PlanRequests(topic string, partitions, replication int, retention time.Duration) Plan {
	return Plan{topic, partitions, replication, []Setting{
		{"cleanup.policy", "delete"}, {"retention.ms", milliseconds(retention)}, {"retention.bytes", "-1"},
		{"message.timestamp.type", "CreateTime"}, {"max.message.bytes", "1048588"},
	}}
}

// PlanOutcomes is an outcome topic that nobody objects to.
func PlanOutcomes(topic string, partitions, replication int, retention time.Duration) Plan {
	return Plan{topic, partitions, replication, []Setting{
		{"cleanup.policy", "delete"}, {"retention.ms", milliseconds(retention)}, {"retention.bytes", "-1"},
		{"message.timestamp.type", "LogAppendTime"}, {"max.message.bytes", "1048588"},
	}}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// On returns the plan for a cluster of so many brokers.
func (p Plan) On(brokers int) Plan {
	if p.Replication == 0 {
		p.Replication = min(brokers, 3)
	}
	if p.Replication >= 3 {
		p.Settings = append(p.Settings[:len(p.Settings):len(p.Settings)], Setting{"min.insync.replicas", "2"}, Setting{"unclean.leader.election.enable", "false"})
	}
	return p
}

// Create makes the topic, and returns when every broker that is asked knows it.
func (p Plan) Create(ctx context.Context, client *kafka.Client) error {
	config := kafka.TopicConfig{Topic: p.Topic, NumPartitions: p.Partitions, ReplicationFactor: p.Replication}
	for _, s := range p.Settings {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: s.Name, ConfigValue: s.Value})
	}
	res, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	if err == nil {
		err = res.Errors[p.Topic]
	}
	if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) { // somebody else was faster
		return fmt.Errorf("create topic %s: %w", p.Topic, err)
	}
	for {
		n, err := PartitionCount(ctx, client, p.Topic)
		if err == nil && n > 0 {
			return nil
		}
		if worker.Sleep(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("topic %s was created, but does not show: %w", p.Topic, err)
		}
	}
}

// Layout is how a topic is spread over a cluster.
type Layout struct {
	Partitions int // 0 = there is no such topic
	Replicas   int // the fewest of a partition
	Brokers    int // of the cluster
}

// LayoutOf looks a topic up.
func LayoutOf(ctx context.Context, client *kafka.Client, topic string) (Layout, error) {
	res, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return Layout{}, err
	}
	l := Layout{Brokers: len(res.Brokers)}
	for _, t := range res.Topics {
		if t.Error != nil && !errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
			return l, fmt.Errorf("topic %s: %w", topic, t.Error)
		}
		l.Partitions = len(t.Partitions)
		for _, p := range t.Partitions {
			if n := len(p.Replicas); l.Replicas == 0 || n < l.Replicas {
				l.Replicas = n
			}
		}
	}
	return l, nil
}

// Compare says what is wrong with the layout of a topic that is there already.
// Partitions or Replication of 0 are as good as any.
func (p Plan) Compare(l Layout) (found Settings) {
	if p.Partitions > 0 && l.Partitions != p.Partitions {
		found.warn("topic %s has %d partitions, not %d: adding some moves messages to other ones, where their duplicates are called again; an outcome topic cannot be changed at all",
			p.Topic, l.Partitions, p.Partitions)
	}
	switch {
	case p.Replication > 0 && l.Replicas < p.Replication:
		found.warn("topic %s has %d replicas, not %d: raise that with a reassignment", p.Topic, l.Replicas, p.Replication)
	case p.Replication == 0 && l.Replicas < min(l.Brokers, 3):
		found.warn("topic %s has %d replicas on %d brokers: one lost broker stops it, and may lose what it holds; raise that to %d with a reassignment",
			p.Topic, l.Replicas, l.Brokers, min(l.Brokers, 3))
	}
	return found
}

// Join adds what was found elsewhere.
func (s *Settings) Join(other Settings) {
	s.Fatal, s.Warnings = append(s.Fatal, other.Fatal...), append(s.Warnings, other.Warnings...)
}
