// Package records reads the records of one topic partition as they stand in
// the log: batch by batch, with transactions, control markers and producer ids.
// It keeps no position, retries nothing and knows nothing of groups. The
// consumer fetches requests with it, the producer replays its ledger.
package records

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
)

// Client reads partitions through a transport, which routes to the leader and
// brings TLS and SASL. It is safe for concurrent use.
type Client struct {
	Transport kafka.RoundTripper
	Addr      net.Addr // the bootstrap brokers, see [kafka.TCP]
}

// FetchRequest says what to fetch. Zero limits mean the defaults beside them.
type FetchRequest struct {
	Topic     string
	Partition int
	Offset    int64 // of the first record wanted

	MaxBytes int           // of batches, 1 MiB; the first batch comes whole even if it is larger
	MinBytes int           // the broker waits for so many, 1
	MaxWait  time.Duration // but no longer than this, in milliseconds; 0 = not at all

	// ReadCommitted leaves out the records of transactions that are open or
	// were aborted.
	ReadCommitted bool

	Memory *Memory // where the page gets its memory, and gives it back; nil = it has its own
}

const (
	defaultMaxBytes = 1 << 20

	// exchangeSlack is what an exchange may take beyond the broker's own
	// waiting: a broker that hangs must not hang its reader.
	exchangeSlack = 10 * time.Second
)

// Fetch makes one fetch round trip. Without a deadline in the context the broker
// has MaxWait and ten seconds to answer, and as long again for each further step
// of its answer: on a slow network a large one takes as long as it takes. Asking
// for less would not help, as a batch comes whole.
//
// The error wraps what the broker reported, so that errors.Is(err,
// kafka.OffsetOutOfRange) works; a page comes with it if the broker named the
// partition's offsets nevertheless. Damage inside the batches is reported when
// the page is iterated.
func (c *Client) Fetch(ctx context.Context, req FetchRequest) (*Page, error) {
	req = req.withDefaults()
	ctx, watch := watched(ctx, req.MaxWait+exchangeSlack)
	defer watch.end()
	page, err := c.exchange(ctx, req, watch)
	if err != nil {
		err = fmt.Errorf("fetch %s/%d at offset %d: %w", req.Topic, req.Partition, req.Offset, err)
	}
	return page, err
}

func (c *Client) exchange(ctx context.Context, req FetchRequest, watch *watch) (*Page, error) {
	x := newExchange(req, c.clientID())
	x.watch = watch
	res, err := c.Transport.RoundTrip(ctx, c.Addr, x)
	if err != nil {
		if context.Cause(ctx) == errSilent {
			err = errSilent // and not just "cancelled"
		}
		return nil, err
	}
	answer, ok := res.(*response)
	if !ok {
		return nil, fmt.Errorf("transport answered with a %T", res)
	}
	return answer.page(req)
}

// clientID is the transport's own, which it does not hand to an exchange.
func (c *Client) clientID() string {
	if t, ok := c.Transport.(*kafka.Transport); ok {
		return t.ClientID
	}
	return ""
}

func (r FetchRequest) withDefaults() FetchRequest {
	if r.MaxBytes <= 0 {
		r.MaxBytes = defaultMaxBytes
	}
	r.MaxBytes = min(r.MaxBytes, maxResponse)
	r.MinBytes = min(max(r.MinBytes, 1), r.MaxBytes)
	r.MaxWait = max(r.MaxWait, 0)
	return r
}

// withDeadline gives ctx a deadline if it has none.
func withDeadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, max(d, exchangeSlack))
}
