package kafkatest

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"
)

// stopSeconds is what a broker gets to hand over its partitions on Stop.
const stopSeconds = 60

// Stop stops broker i as an operator would: it hands over its partitions and
// closes its log first.
func (c *Cluster) Stop(i int) {
	c.tb.Helper()
	c.fault("stop", i, func(ctx context.Context, id string) error {
		seconds := stopSeconds
		_, err := c.docker.ContainerStop(ctx, id, client.ContainerStopOptions{Timeout: &seconds})
		return err
	})
}

// Kill ends broker i with SIGKILL and returns when it is gone. Its data stay.
func (c *Cluster) Kill(i int) {
	c.tb.Helper()
	c.fault("kill", i, func(ctx context.Context, id string) error {
		_, err := c.docker.ContainerKill(ctx, id, client.ContainerKillOptions{Signal: "KILL"})
		return err
	})
}

// Pause freezes broker i: it accepts connections and answers nothing.
func (c *Cluster) Pause(i int) {
	c.tb.Helper()
	c.fault("pause", i, func(ctx context.Context, id string) error {
		return poll(ctx, func(ctx context.Context) error { // on a busy machine the engine may fail to freeze it
			_, err := c.docker.ContainerPause(ctx, id, client.ContainerPauseOptions{})
			if err != nil && strings.Contains(err.Error(), "already paused") { // by a try that got no answer
				return nil
			}
			return err
		})
	})
}

// Unpause lets broker i go on where Pause held it.
func (c *Cluster) Unpause(i int) {
	c.tb.Helper()
	c.fault("unpause", i, func(ctx context.Context, id string) error {
		_, err := c.docker.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
		return err
	})
}

// StartAgain starts stopped or killed brokers on their old addresses, with
// their data, and returns when each serves. Where a majority is down, name
// enough of them at once: one alone would never serve.
func (c *Cluster) StartAgain(brokers ...int) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	chosen := make([]*broker, 0, len(brokers))
	for _, i := range brokers {
		chosen = append(chosen, c.brokers[i])
	}
	err := c.each(chosen, func(b *broker) error {
		if err := c.startContainer(ctx, b); err != nil {
			return err
		}
		return b.waitForMetadata(ctx, 1)
	})
	if err != nil {
		c.tb.Errorf("start Kafka again: %v", err)
	}
}

// Exec runs a command inside broker i, such as one of /opt/kafka/bin with
// --bootstrap-server localhost:19092 (of a single broker), and returns what it
// wrote. An exit code other than 0 is an error.
func (c *Cluster) Exec(i int, command ...string) (string, error) {
	output, err := execIn(c.brokers[i].container, command...)
	if err != nil {
		err = fmt.Errorf("in broker %d: %w", i, err)
	}
	return output, err
}

func execIn(ctr testcontainers.Container, command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	code, reader, err := ctr.Exec(ctx, command, tcexec.Multiplexed())
	if err != nil {
		return "", fmt.Errorf("run %q: %w", command, err)
	}
	output, err := io.ReadAll(reader)
	if err != nil {
		return "", fmt.Errorf("read the output of %q: %w", command, err)
	}
	text := strings.TrimSpace(string(output))
	if code != 0 {
		return text, fmt.Errorf("%q: exit code %d: %s", command, code, text)
	}
	return text, nil
}

// fault orders something of broker i's container. A fault that did not happen
// would make the test prove nothing, so it fails the test.
func (c *Cluster) fault(verb string, i int, order func(ctx context.Context, id string) error) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := order(ctx, c.brokers[i].container.GetContainerID()); err != nil {
		c.tb.Errorf("%s broker %d: %v", verb, i, err)
	}
}

// startContainer waits where the old port is still being let go.
func (c *Cluster) startContainer(ctx context.Context, b *broker) error {
	var failure error // other than a taken port
	err := poll(ctx, func(ctx context.Context) error {
		_, err := c.docker.ContainerStart(ctx, b.container.GetContainerID(), client.ContainerStartOptions{})
		if err == nil || isPortTaken(err) {
			return err
		}
		failure = err
		return nil
	})
	if err == nil {
		err = failure
	}
	if err != nil {
		return fmt.Errorf("start the container: %w", err)
	}
	return nil
}
