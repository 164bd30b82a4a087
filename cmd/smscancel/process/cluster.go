package process

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

// IOTimeout bounds exchanges that set no deadline of their own.
const IOTimeout = 30 * time.Second

const (
	dialTimeout  = 5 * time.Second // to connect, TLS included
	loginTimeout = 5 * time.Second // for SASL
	metadataTTL  = time.Second     // how long a moved leader goes unnoticed

	// anyBroker stands for "a bootstrap broker that answers": kafka-go takes the
	// first of its list (the group) or one at random (the client), and waits
	// for it even if it hangs.
	anyBroker = "bootstrap.invalid:9092"
)

// Cluster is how a process reaches Kafka.
type Cluster struct {
	Brokers []string
	TLS     *tls.Config    // nil = no TLS
	SASL    sasl.Mechanism // nil = no SASL

	// Connect opens a connection to a broker; nil = TCP.
	Connect func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client is the one client of a process; topics are those whose leaders it
// needs. disconnect closes its connections, those in use when they become idle,
// and with it ends what a late request would start.
func (c Cluster) Client(id string, topics ...string) (client *kafka.Client, disconnect func()) {
	ctx, cancel := context.WithCancel(context.Background())
	transport := &kafka.Transport{
		Context: ctx, ClientID: id, Dial: c.dial, DialTimeout: dialTimeout + loginTimeout,
		MetadataTTL: metadataTTL, MetadataTopics: topics,
	}
	return &kafka.Client{Addr: kafka.TCP(anyBroker), Timeout: IOTimeout, Transport: transport}, func() { transport.CloseIdleConnections(); cancel() }
}

// dialer is for the consumer group, which has connections of its own.
func (c Cluster) dialer(id string) *kafka.Dialer {
	return &kafka.Dialer{ClientID: id, DialFunc: c.dialMember, Timeout: dialTimeout + loginTimeout}
}

// dial connects to a broker, with TLS and SASL if configured, and sees to it
// that no exchange can hang for ever.
func (c Cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if address == anyBroker {
		var err error
		if address, err = c.bootstrap(ctx, network); err != nil {
			return nil, err
		}
	}
	conn, err := c.open(ctx, network, address)
	if err == nil && c.SASL != nil {
		if err = c.login(ctx, conn, address); err != nil {
			conn.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// open connects to a broker, with TLS if configured.
func (c Cluster) open(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := c.connect(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if c.TLS != nil {
		if conn, err = c.handshake(ctx, conn, address); err != nil {
			return nil, err
		}
	}
	return &deadlineConn{Conn: conn, broker: address}, nil
}

func (c Cluster) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if c.Connect != nil {
		return c.Connect(ctx, network, address)
	}
	return (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext(ctx, network, address)
}

func (c Cluster) handshake(ctx context.Context, conn net.Conn, address string) (net.Conn, error) {
	config := c.TLS.Clone()
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

// deadlineConn gives a deadline to reads and writes that have none, and says
// which broker let one pass.
type deadlineConn struct {
	net.Conn
	broker   string
	explicit atomic.Bool
}

// silentError is what a deadline that passed leads to.
type silentError struct {
	broker string
	error
}

func (e silentError) Error() string {
	return "broker " + e.broker + " does not answer: " + e.error.Error()
}
func (e silentError) Unwrap() error { return e.error }
func (silentError) Timeout() bool   { return true }
func (silentError) Temporary() bool { return true } // as a net.Error says it of itself

func (c *deadlineConn) named(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return silentError{c.broker, err}
	}
	return err
}

func (c *deadlineConn) Read(b []byte) (int, error) {
	if !c.explicit.Load() {
		c.Conn.SetReadDeadline(time.Now().Add(IOTimeout)) //nolint:errcheck // the read will tell
	}
	n, err := c.Conn.Read(b)
	return n, c.named(err)
}

func (c *deadlineConn) Write(b []byte) (int, error) {
	if !c.explicit.Load() {
		c.Conn.SetWriteDeadline(time.Now().Add(IOTimeout)) //nolint:errcheck // the write will tell
	}
	n, err := c.Conn.Write(b)
	return n, c.named(err)
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
