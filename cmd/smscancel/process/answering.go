package process

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
)

// headStart is what a broker gets to answer before another one is asked too.
const headStart = 250 * time.Millisecond

// dialMember connects a member to the coordinator of its group, or to any
// broker, which then names the coordinator. A broker that hangs accepts
// connections, too, and a member that waits for its answers loses its
// partitions: so only one is connected to that has just answered.
func (c Cluster) dialMember(ctx context.Context, network, address string) (net.Conn, error) {
	if address != anyBroker {
		if _, err := c.answering(ctx, network, []string{address}); err != nil {
			return nil, err
		}
	}
	return c.dial(ctx, network, address)
}

// bootstrap is the address behind anyBroker.
func (c Cluster) bootstrap(ctx context.Context, network string) (string, error) {
	if len(c.Brokers) == 1 { // there is no choice
		return c.Brokers[0], nil
	}
	return c.answering(ctx, network, c.Brokers)
}

// answering is the first of some brokers to answer. They are asked in random
// order, the next one as soon as one fails or has had its head start.
func (c Cluster) answering(ctx context.Context, network string, brokers []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel() // of those that are still being asked
	brokers = slices.Clone(brokers)
	rand.Shuffle(len(brokers), func(i, j int) { brokers[i], brokers[j] = brokers[j], brokers[i] })
	type answer struct {
		broker string
		err    error
	}
	answers, unasked := make(chan answer, len(brokers)), brokers
	next := time.NewTimer(headStart)
	defer next.Stop()
	var last error
	for failed := 0; failed < len(brokers); {
		if len(unasked) > 0 {
			go func(broker string) { answers <- answer{broker, c.ask(ctx, network, broker)} }(unasked[0])
			unasked = unasked[1:]
			next.Reset(headStart)
		}
		select {
		case <-next.C:
		case a := <-answers:
			if a.err == nil {
				return a.broker, nil
			}
			failed, last = failed+1, a.err
		}
	}
	return "", last
}

// ask makes one exchange with a broker, on a connection of its own: before SASL
// a broker answers this question only once.
func (c Cluster) ask(ctx context.Context, network, broker string) error {
	conn, err := c.open(ctx, network, broker)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err = protocol.NewConn(conn, "").RoundTrip(new(apiversions.Request)); err != nil {
		return fmt.Errorf("broker %s accepts connections and does not answer: %w", broker, err)
	}
	return nil
}
