package producer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
)

// Settings is what CheckTopic finds out about the outcome topic.
type Settings struct {
	Fatal    []string // settings under which the guarantees do not hold
	Warnings []string // settings that cost something, or could not be read
}

// minMessageBytes is the largest outcome; a topic that takes less loses parts of some.
const minMessageBytes = 256 << 10

// CheckTopic compares the outcome topic's settings with what a ledger needs.
// requestTopics are compared for retention. An error means that nothing could
// be found out yet.
func (l *Ledger) CheckTopic(ctx context.Context, window time.Duration, requestTopics []string) (Settings, error) {
	var found Settings
	configs, err := l.describe(ctx, append([]string{l.Topic}, requestTopics...))
	if err != nil {
		return found, err
	}
	outcomes, ok := configs[l.Topic]
	if !ok {
		found.warn("the settings of topic %s may not be read (DescribeConfigs): check them by hand", l.Topic)
		return found, nil
	}
	if n := outcomes.number("max.message.bytes"); n > 0 {
		l.maxMessageBytes.Store(n)
	}
	found.checkDurability(l.Topic, outcomes, window)
	found.checkAdvice(l.Topic, outcomes)
	found.checkReplication(l.Topic, "outcomes", outcomes, replication(ctx, l.Client, l.Topic))
	for _, topic := range requestTopics {
		found.checkRequestRetention(topic, configs[topic], l.Topic, outcomes)
	}
	return found, nil
}

func (s *Settings) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

func (s *Settings) fatal(format string, args ...any) {
	s.Fatal = append(s.Fatal, fmt.Sprintf(format, args...))
}

func (s *Settings) checkDurability(topic string, c config, window time.Duration) {
	if strings.Contains(c["cleanup.policy"], "compact") {
		s.fatal("topic %s has cleanup.policy=%s: compaction deletes outcomes; set it to delete", topic, c["cleanup.policy"])
	}
	if n := c.number("retention.bytes"); n >= 0 && c["retention.bytes"] != "" {
		s.fatal("topic %s has retention.bytes=%d: a size limit deletes outcomes that duplicates need; set it to -1", topic, n)
	}
	if d := c.retention(); d >= 0 && d < window {
		s.fatal("topic %s has retention.ms=%d (%s), less than the dedupe window of %s: raise retention.ms or lower --dedupe-window",
			topic, d.Milliseconds(), d, window)
	}
}

func (s *Settings) checkAdvice(topic string, c config) {
	if kind := c["message.timestamp.type"]; kind != "" && kind != "LogAppendTime" {
		s.warn("topic %s has message.timestamp.type=%s: with LogAppendTime the dedupe window does not depend on the workers' clocks", topic, kind)
	}
	if n := c.number("max.message.bytes"); n > 0 && n < minMessageBytes {
		s.warn("topic %s has max.message.bytes=%d: an outcome can have %d; larger ones lose source.value and metadata", topic, n, minMessageBytes)
	}
}

func (s *Settings) checkReplication(topic, what string, c config, replicas int) {
	if replicas < 3 {
		return
	}
	if n := c.number("min.insync.replicas"); n >= 0 && n < 2 {
		s.warn("topic %s has %d replicas and min.insync.replicas=%d: one lost broker can lose %s; set it to 2", topic, replicas, n, what)
	}
	if c["unclean.leader.election.enable"] == "true" {
		s.warn("topic %s has unclean.leader.election.enable=true: an election can lose %s; set it to false", topic, what)
	}
}

func (s *Settings) checkRequestRetention(topic string, requests config, ledger string, outcomes config) {
	if requests == nil {
		s.warn("the settings of topic %s may not be read (DescribeConfigs): its retention should not exceed that of %s", topic, ledger)
		return
	}
	kept, have := requests.retention(), outcomes.retention()
	if segment := requests.number("segment.ms"); kept >= 0 && segment > 0 {
		kept += time.Duration(segment) * time.Millisecond
	}
	if have >= 0 && (kept < 0 || kept > have) {
		s.warn("topic %s keeps outcomes %s, topic %s keeps requests up to %s: after an offset reset the oldest requests would be handled again",
			ledger, have, topic, orForever(kept))
	}
}

func orForever(d time.Duration) string {
	if d < 0 {
		return "for ever"
	}
	return d.String()
}

// config holds the settings of one topic by name.
type config map[string]string

func (c config) number(name string) int64 {
	n, err := strconv.ParseInt(c[name], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// retention is how long a topic keeps records; negative means for ever.
func (c config) retention() time.Duration {
	ms := c.number("retention.ms")
	if ms < 0 || ms > int64(1<<63-1)/int64(time.Millisecond) {
		return -1
	}
	return time.Duration(ms) * time.Millisecond
}

// describe returns the settings of those topics that may be described.
func (l *Ledger) describe(ctx context.Context, topics []string) (map[string]config, error) {
	req := &kafka.DescribeConfigsRequest{}
	for _, topic := range topics {
		req.Resources = append(req.Resources, kafka.DescribeConfigRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
		})
	}
	res, err := l.Client.DescribeConfigs(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("describe the settings of %s: %w", strings.Join(topics, ", "), err)
	}
	configs := map[string]config{}
	for _, r := range res.Resources {
		switch {
		case errors.Is(r.Error, kafka.TopicAuthorizationFailed) || errors.Is(r.Error, kafka.ClusterAuthorizationFailed):
			continue
		case r.Error != nil:
			return nil, fmt.Errorf("describe the settings of %s: %w", r.ResourceName, r.Error)
		}
		configs[r.ResourceName] = config{}
		for _, entry := range r.ConfigEntries {
			configs[r.ResourceName][entry.ConfigName] = entry.ConfigValue
		}
	}
	return configs, nil
}

// replication is the smallest replica count of a topic; 0 if unknown.
func replication(ctx context.Context, client *kafka.Client, topic string) int {
	res, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0
	}
	replicas := 0
	for _, topic := range res.Topics {
		for _, p := range topic.Partitions {
			if n := len(p.Replicas); replicas == 0 || n < replicas {
				replicas = n
			}
		}
	}
	return replicas
}
