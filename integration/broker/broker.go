// Package broker runs an embedded Kafka broker, kfake, on loopback: a real
// network listener that any Kafka client can use, for `smscancel dev` and for
// fast tests.
//
// It is not Kafka. Where the guarantees rest on what a broker does (fencing,
// markers, sequences), they are proved on real Kafka, see package kafkatest.
package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
)

// Options configure a broker.
type Options struct {
	Port    int    // on 127.0.0.1; a taken one is replaced by a free one; 0 = any
	DataDir string // keeps the topics across restarts; empty = in memory
}

// Broker is one running embedded broker.
type Broker struct {
	Cluster *kfake.Cluster // for faults in tests
	addr    string
}

// Start runs a broker.
func Start(o Options) (*Broker, error) {
	cluster, err := start(o)
	if err != nil && errors.Is(err, syscall.EADDRINUSE) {
		o.Port = 0
		cluster, err = start(o)
	}
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker: %w", err)
	}
	return &Broker{Cluster: cluster, addr: cluster.ListenAddrs()[0]}, nil
}

func start(o Options) (*kfake.Cluster, error) {
	port := o.Port
	if port == 0 {
		var err error
		if port, err = freePort(); err != nil {
			return nil, err
		}
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1), kfake.Ports(port),
		kfake.GroupMinSessionTimeout(100 * time.Millisecond),
	}
	if o.DataDir != "" {
		opts = append(opts, kfake.DataDir(o.DataDir))
	}
	return kfake.NewCluster(opts...)
}

// Addr is the broker's address, HOST:PORT.
func (b *Broker) Addr() string { return b.addr }

// Close stops the broker.
func (b *Broker) Close() { b.Cluster.Close() }

// Topic is a topic to create.
type Topic struct {
	Name       string
	Partitions int
	Settings   map[string]string
}

// CreateTopics creates the topics that do not exist yet, on any broker.
func CreateTopics(ctx context.Context, client *kafka.Client, replicas int, topics ...Topic) error {
	req := &kafka.CreateTopicsRequest{}
	for _, t := range topics {
		config := kafka.TopicConfig{Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: replicas}
		for name, value := range t.Settings {
			config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
		}
		req.Topics = append(req.Topics, config)
	}
	res, err := client.CreateTopics(ctx, req)
	if err != nil {
		return fmt.Errorf("create topics: %w", err)
	}
	for name, err := range res.Errors {
		if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
			return fmt.Errorf("create topic %s: %w", name, err)
		}
	}
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
