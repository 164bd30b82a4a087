package kafkatest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
)

const (
	startTimeout = 8 * time.Minute // three brokers take a minute on a busy machine
	stopTimeout  = 2 * time.Minute
)

// Cluster is one running Kafka cluster. Its brokers are counted from 0. Faults
// may be ordered from any goroutine while the test runs; one that could not be
// carried out fails the test.
type Cluster struct {
	tb      testing.TB
	docker  *client.Client
	id      string
	brokers []*broker
	network *testcontainers.DockerNetwork // nil for a single broker
	secure  *secureSide                   // nil without users
}

// Start runs a cluster until the end of the test and returns when every broker
// serves. If the test fails, the end of each broker's log is shown.
func Start(tb testing.TB, options Options) *Cluster {
	tb.Helper()
	Require(tb)
	removeLeftovers(tb)
	c, err := start(options)
	if err != nil {
		tb.Fatalf("start Kafka: %v", err)
	}
	tb.Cleanup(func() { // after the logs of Lend: cleanups run last in, first out
		if err := c.remove(); err != nil {
			tb.Errorf("remove Kafka: %v", err)
		}
	})
	return c.Lend(tb)
}

// Bootstrap lists the brokers' addresses, HOST:PORT, for the clients under
// test. They stay the same when a broker is stopped and started again.
func (c *Cluster) Bootstrap() []string {
	addresses := make([]string, 0, len(c.brokers))
	for _, b := range c.brokers {
		addresses = append(addresses, b.bootstrap())
	}
	return addresses
}

// Admin lists the addresses of a listener without TLS and SASL whose clients
// may do everything. Without users it is the same as Bootstrap.
func (c *Cluster) Admin() []string {
	addresses := make([]string, 0, len(c.brokers))
	for _, b := range c.brokers {
		addresses = append(addresses, b.admin())
	}
	return addresses
}

// Detour is the breakable way to the brokers, which Options asked for.
func (c *Cluster) Detour() *Detour {
	d := &Detour{tb: c.tb}
	for _, b := range c.brokers {
		if b.proxy == nil {
			c.tb.Fatal("this cluster was started without a detour")
		}
		d.proxies = append(d.proxies, b.proxy)
	}
	return d
}

// ID is the cluster id, another one for each cluster.
func (c *Cluster) ID() string { return c.id }

// start is Start without a test. What it began is removed if it fails.
func start(options Options) (_ *Cluster, err error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	docker, err := engine()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c := &Cluster{docker: docker, id: newClusterID()}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.remove())
		}
	}()
	if err := c.prepare(ctx, &options); err != nil {
		return nil, err
	}
	if err := c.startBrokers(ctx, &options); err != nil {
		return nil, err
	}
	if len(options.Users) > 0 {
		if err := addUsers(ctx, c.Admin(), options.Users); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// prepare makes what the brokers need beside themselves.
func (c *Cluster) prepare(ctx context.Context, options *Options) (err error) {
	if len(options.Users) > 0 {
		if c.secure, err = newSecureSide(); err != nil {
			return err
		}
	}
	if options.Brokers == 1 {
		return nil
	}
	c.network, err = network.New(ctx, network.WithLabels(Labels()))
	if err != nil {
		return fmt.Errorf("create the brokers' network: %w", err)
	}
	return nil
}

// startBrokers starts all before it waits for any: none serves before a
// majority of them is up.
func (c *Cluster) startBrokers(ctx context.Context, options *Options) error {
	imageName, err := image(ctx, c.docker)
	if err != nil {
		return err
	}
	for id := 1; id <= options.Brokers; id++ {
		b, err := c.startBroker(ctx, options, imageName, id)
		if err != nil {
			return fmt.Errorf("broker %d: %w", id-1, err)
		}
		c.brokers = append(c.brokers, b)
	}
	return c.each(c.brokers, func(b *broker) error {
		err := b.waitForStart(ctx)
		if err == nil {
			err = b.waitForMetadata(ctx, options.Brokers)
		}
		if err != nil {
			return fmt.Errorf("%w; the end of its log:\n%s", err, c.logOrReason(b))
		}
		return nil
	})
}

// each runs do for the brokers at the same time and joins the errors.
func (c *Cluster) each(brokers []*broker, do func(*broker) error) error {
	errs := make([]error, len(brokers))
	var wg sync.WaitGroup
	for i, b := range brokers {
		wg.Go(func() {
			if err := do(b); err != nil {
				errs[i] = fmt.Errorf("broker %d: %w", b.id-1, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// remove takes away whatever there is of the cluster.
func (c *Cluster) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := c.each(c.brokers, func(b *broker) error {
		b.closeDetour()
		err := removeContainer(ctx, c.docker, b.container.GetContainerID())
		return errors.Join(err, c.removeDisk(ctx, b.disk))
	})
	if c.network != nil {
		err = errors.Join(err, removeNetwork(ctx, c.docker, c.network.ID))
	}
	return err
}

// newClusterID is 16 random bytes in Kafka's own form. A leading dash would
// look like an option to the tool that formats the storage.
func newClusterID() string {
	for {
		var raw [16]byte
		_, _ = rand.Read(raw[:]) // never fails
		if id := base64.RawURLEncoding.EncodeToString(raw[:]); id[0] != '-' {
			return id
		}
	}
}
