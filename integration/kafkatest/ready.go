package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"
)

const (
	readyPoll = 200 * time.Millisecond
	askWithin = 10 * time.Second // one question to a broker
)

// waitForMetadata waits until the broker, asked from outside, names itself and
// at least want brokers.
func (b *broker) waitForMetadata(ctx context.Context, want int) error {
	return poll(ctx, func(ctx context.Context) error {
		conn, err := dial(ctx, b.admin())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }() // the answer is what counts
		brokers, err := conn.Brokers()
		if err != nil {
			return fmt.Errorf("ask %s for its brokers: %w", b.admin(), err)
		}
		for _, found := range brokers {
			if found.ID == b.id && len(brokers) >= want {
				return nil
			}
		}
		return fmt.Errorf("%s knows of %d brokers; waiting for %d and itself", b.admin(), len(brokers), want)
	})
}

// poll calls ask until it succeeds; at the end of ctx it tells the last error.
func poll(ctx context.Context, ask func(context.Context) error) error {
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for {
		err := askOnce(ctx, ask)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

func askOnce(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	return ask(ctx)
}

// dial connects to one broker with the deadline of ctx on everything: a broker
// that hangs must not hang the test.
func dial(ctx context.Context, address string) (*kafka.Conn, error) {
	conn, err := kafka.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", address, err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, errors.Join(fmt.Errorf("connect to %s: %w", address, err), conn.Close())
		}
	}
	return conn, nil
}
