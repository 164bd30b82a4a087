package kafkatest

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
)

// CreateTopic makes a topic on all brokers, with settings such as
// "retention.ms" ("min.insync.replicas" is the broker's unless given), and
// returns when every partition has a leader.
func (c *Cluster) CreateTopic(name string, partitions int, settings map[string]string) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := c.createTopic(ctx, name, partitions, settings); err != nil {
		c.tb.Fatalf("create topic %s: %v", name, err)
	}
}

func (c *Cluster) createTopic(ctx context.Context, name string, partitions int, settings map[string]string) error {
	topic := kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: len(c.brokers)}
	for setting, value := range settings {
		topic.ConfigEntries = append(topic.ConfigEntries, kafka.ConfigEntry{ConfigName: setting, ConfigValue: value})
	}
	err := withAdmin(c.Admin(), func(admin *kafka.Client) error {
		response, err := admin.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{topic}})
		if err != nil {
			return err
		}
		return response.Errors[name]
	})
	if err != nil {
		return err
	}
	return poll(ctx, func(ctx context.Context) error { return c.hasLeaders(ctx, name, partitions) })
}

// hasLeaders asks every broker: a client may ask any of them.
func (c *Cluster) hasLeaders(ctx context.Context, topic string, want int) error {
	for _, address := range c.Admin() {
		conn, err := dial(ctx, address)
		if err != nil {
			return err
		}
		if err := errors.Join(countLeaders(conn, topic, want), conn.Close()); err != nil {
			return fmt.Errorf("broker %s: %w", address, err)
		}
	}
	return nil
}

func countLeaders(conn *kafka.Conn, topic string, want int) error {
	partitions, err := conn.ReadPartitions(topic)
	if err != nil {
		return fmt.Errorf("read partitions: %w", err)
	}
	led := 0
	for _, p := range partitions {
		if p.Error == nil && p.Leader.Host != "" {
			led++
		}
	}
	if led != want {
		return fmt.Errorf("%d of %d partitions have a leader", led, want)
	}
	return nil
}
