package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

const (
	dialTimeout = 5 * time.Second
	ioTimeout   = 30 * time.Second // of exchanges that set no deadline of their own, SASL's among them
	metadataTTL = time.Second      // how long a moved leader goes unnoticed

	// anyBroker stands for "one of the bootstrap brokers": kafka-go's consumer
	// group always tries the first of its list, and stands still while that one hangs.
	anyBroker = "bootstrap.invalid:9092"
)

// cluster is how this process reaches Kafka.
type cluster struct {
	brokers []string
	tls     *tls.Config
	sasl    sasl.Mechanism
}

// client is the one client of a process; topics are those whose leaders it needs.
func (c cluster) client(id string, topics ...string) *kafka.Client {
	return &kafka.Client{
		Addr:    kafka.TCP(c.brokers...),
		Timeout: ioTimeout,
		Transport: &kafka.Transport{
			ClientID: id, Dial: c.dial, SASL: c.sasl, DialTimeout: dialTimeout,
			MetadataTTL: metadataTTL, MetadataTopics: topics,
		},
	}
}

// dialer is for the consumer group, which has connections of its own.
func (c cluster) dialer(id string) *kafka.Dialer {
	return &kafka.Dialer{ClientID: id, DialFunc: c.dial, SASLMechanism: c.sasl, Timeout: dialTimeout}
}

// dial connects to a broker, with TLS if configured, and sees to it that no
// exchange can hang for ever.
func (c cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if address == anyBroker {
		address = c.brokers[rand.IntN(len(c.brokers))]
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if c.tls != nil {
		if conn, err = c.handshake(ctx, conn, address); err != nil {
			return nil, err
		}
	}
	return &deadlineConn{Conn: conn}, nil
}

func (c cluster) handshake(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	config := c.tls.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS with broker %s: %w", address, err)
	}
	return secured, nil
}

// deadlineConn gives a deadline to reads and writes that have none.
type deadlineConn struct {
	net.Conn
	explicit atomic.Bool
}

func (c *deadlineConn) Read(b []byte) (int, error) {
	if !c.explicit.Load() {
		c.Conn.SetReadDeadline(time.Now().Add(ioTimeout)) //nolint:errcheck // the read will tell
	}
	return c.Conn.Read(b)
}

func (c *deadlineConn) Write(b []byte) (int, error) {
	if !c.explicit.Load() {
		c.Conn.SetWriteDeadline(time.Now().Add(ioTimeout)) //nolint:errcheck // the write will tell
	}
	return c.Conn.Write(b)
}

func (c *deadlineConn) SetDeadline(t time.Time) error {
	c.explicit.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

func (c *deadlineConn) SetWriteDeadline(t time.Time) error {
	c.explicit.Store(!t.IsZero())
	return c.Conn.SetWriteDeadline(t)
}

func (c *deadlineConn) SetReadDeadline(t time.Time) error {
	c.explicit.Store(!t.IsZero())
	return c.Conn.SetReadDeadline(t)
}
