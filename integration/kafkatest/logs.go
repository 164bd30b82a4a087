package kafkatest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
)

// logLines is how much of a broker's log a failed test shows.
const logLines = "60"

// showLogs writes the end of every broker's log to the test's.
func (c *Cluster) showLogs() {
	for i, b := range c.brokers {
		c.tb.Logf("broker %d, last %s lines:\n%s", i, logLines, c.logOrReason(b))
	}
}

// logOrReason is the end of a broker's log, or why there is none.
func (c *Cluster) logOrReason(b *broker) string {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	text, err := c.log(ctx, b)
	if err != nil {
		return err.Error()
	}
	return text
}

func (c *Cluster) log(ctx context.Context, b *broker) (string, error) {
	stream, err := c.docker.ContainerLogs(ctx, b.container.GetContainerID(), client.ContainerLogsOptions{
		ShowStdout: true, ShowStderr: true, Tail: logLines,
	})
	if err != nil {
		return "", fmt.Errorf("read its log: %w", err)
	}
	defer func() { _ = stream.Close() }()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, stream); err != nil {
		return "", fmt.Errorf("read its log: %w", err)
	}
	return text.String(), nil
}
