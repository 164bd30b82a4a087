package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/moby/moby/api/types/container"
	dockernet "github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"
)

const (
	startedLine = "Kafka Server started"
	logPoll     = 250 * time.Millisecond
	startTries  = 5
)

// broker is one container and the loopback ports that it is reached by.
type broker struct {
	id        int // KRaft node id, from 1
	container testcontainers.Container
	plain     int              // host port of the listener PLAIN
	secure    int              // host port of the listener SECURE; 0 without users
	detour    int              // host port of the listener DETOUR; 0 without one
	proxy     *toxiproxy.Proxy // the way to detour; nil without one
	disk      *disk            // nil = its data are in the container
}

func (b *broker) admin() string { return loopback(b.plain) }

func (b *broker) bootstrap() string {
	if b.secure != 0 {
		return loopback(b.secure)
	}
	return b.admin()
}

// startBroker starts a container, with other ports if its first ones were
// taken between the choice and the start.
func (c *Cluster) startBroker(ctx context.Context, options *Options, imageName string, id int) (*broker, error) {
	for try := 1; ; try++ {
		b, err := c.tryBroker(ctx, options, imageName, id)
		if err == nil {
			return b, nil
		}
		if !isPortTaken(err) || try == startTries {
			return nil, err
		}
	}
}

func (c *Cluster) tryBroker(ctx context.Context, options *Options, imageName string, id int) (*broker, error) {
	b := &broker{id: id}
	if err := b.choosePorts(options); err != nil {
		return nil, err
	}
	if err := c.prepareBroker(ctx, options, imageName, b); err != nil {
		return nil, err
	}
	ctr, err := testcontainers.Run(ctx, imageName, c.customize(options, b)...)
	if err != nil {
		if ctr != nil { // created, but not started
			err = errors.Join(err, removeContainer(ctx, c.docker, ctr.GetContainerID()))
		}
		b.closeDetour()
		return nil, errors.Join(err, c.removeDisk(ctx, b.disk))
	}
	b.container = ctr
	return b, nil
}

func (b *broker) choosePorts(options *Options) (err error) {
	if b.plain, err = options.port(); err != nil {
		return err
	}
	if len(options.Users) > 0 {
		b.secure, err = options.port()
	}
	return err
}

// prepareBroker makes what surrounds the container.
func (c *Cluster) prepareBroker(ctx context.Context, options *Options, imageName string, b *broker) (err error) {
	if options.Detour {
		if err := b.openDetour(options); err != nil {
			return err
		}
	}
	if options.DiskMiB > 0 {
		b.disk, err = c.newDisk(ctx, imageName, options.DiskMiB)
	}
	return err
}

// openDetour puts a proxy before the listener DETOUR, which advertises it.
func (b *broker) openDetour(options *Options) (err error) {
	listen := 0
	for _, port := range []*int{&b.detour, &listen} {
		if *port, err = options.port(); err != nil {
			return err
		}
	}
	b.proxy, err = newProxy(listen, b.detour)
	return err
}

func (b *broker) closeDetour() {
	if b.proxy != nil {
		b.proxy.Stop()
	}
}

func (c *Cluster) customize(options *Options, b *broker) []testcontainers.ContainerCustomizer {
	custom := []testcontainers.ContainerCustomizer{
		testcontainers.WithEnv(options.environment(b, c.id)),
		testcontainers.WithLabels(Labels()),
		testcontainers.WithExposedPorts(containerPort(plainPort)),
		testcontainers.WithHostConfigModifier(b.publish),
	}
	if c.network != nil {
		custom = append(custom, network.WithNetwork([]string{options.hostname(b.id)}, c.network))
	}
	if b.disk != nil {
		custom = append(custom, testcontainers.WithHostConfigModifier(b.disk.mount))
	}
	if b.proxy != nil {
		custom = append(custom, testcontainers.WithExposedPorts(containerPort(detourPort)))
	}
	if c.secure != nil {
		custom = append(custom,
			testcontainers.WithExposedPorts(containerPort(securePort)),
			testcontainers.WithFiles(c.secure.files()...))
	}
	return custom
}

// publish binds fixed ports: one that the engine chooses moves when the
// container is started again, and clients would not find their broker.
func (b *broker) publish(host *container.HostConfig) {
	host.PortBindings = dockernet.PortMap{}
	for inside, outside := range map[int]int{plainPort: b.plain, securePort: b.secure, detourPort: b.detour} {
		if outside != 0 {
			host.PortBindings[dockernet.MustParsePort(containerPort(inside))] = []dockernet.PortBinding{{
				HostIP:   netip.AddrFrom4([4]byte{127, 0, 0, 1}),
				HostPort: strconv.Itoa(outside),
			}}
		}
	}
}

func containerPort(port int) string { return strconv.Itoa(port) + "/tcp" }

// waitForStart waits for the broker's own word, and fails early when the
// container exits instead.
func (b *broker) waitForStart(ctx context.Context) error {
	target, ok := b.container.(wait.StrategyTarget)
	if !ok {
		return fmt.Errorf("a %T cannot be waited for", b.container)
	}
	err := wait.ForLog(startedLine).
		WithStartupTimeout(startTimeout).
		WithPollInterval(logPoll).
		WaitUntilReady(ctx, target)
	if err != nil {
		return fmt.Errorf("wait for %q in its log: %w", startedLine, err)
	}
	return nil
}
