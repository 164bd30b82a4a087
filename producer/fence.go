package producer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/segmentio/kafka-go"

	"smscancel/worker"
)

// transactionTimeout bounds an empty transaction whose process died between
// its two requests. Brokers allow at most transaction.max.timeout.ms (15 min).
const transactionTimeout = time.Minute

// coordination is the transactional side of one source: who may write.
type coordination struct {
	client *kafka.Client
	txID   string
	topic  string // outcome topic
	ledger int    // outcome partition
	pid    int
	epoch  int
}

// fence makes this process the only writer of the source: a new epoch, then an
// empty transaction whose marker carries that epoch into the outcome partition,
// then the barrier that waits until the marker stands in the log. From then on
// an older owner's appends are refused by the partition's leader itself.
func (c *coordination) fence(ctx context.Context) error {
	if err := c.initProducerID(ctx); err != nil {
		return err
	}
	if c.epoch >= math.MaxInt16-1 {
		// The last epoch. Init with a transaction open aborts it with the epoch
		// reserved for that and hands out a new producer id.
		if err := c.addPartition(ctx); err != nil {
			return err
		}
		if err := c.initProducerID(ctx); err != nil {
			return err
		}
	}
	return c.emptyTransaction(ctx)
}

// emptyTransaction writes a control marker with our epoch into the outcome
// partition and returns when it stands there. It also keeps the transactional
// id alive and proves that nobody has fenced us.
func (c *coordination) emptyTransaction(ctx context.Context) error {
	if err := c.addPartition(ctx); err != nil {
		return err
	}
	if err := c.endTransaction(ctx); err != nil {
		return err
	}
	// EndTxn is asynchronous: the first 0 says "prepared", the next one, after
	// any number of CONCURRENT_TRANSACTIONS, says "all markers are written".
	return c.endTransaction(ctx)
}

func (c *coordination) initProducerID(ctx context.Context) error {
	return c.retry(ctx, "InitProducerId", func(ctx context.Context) error {
		res, err := c.client.InitProducerID(ctx, &kafka.InitProducerIDRequest{
			TransactionalID:      c.txID,
			TransactionTimeoutMs: int(transactionTimeout.Milliseconds()),
			ProducerID:           -1,
			ProducerEpoch:        -1,
		})
		if err != nil {
			return err
		}
		if res.Error == nil {
			c.pid, c.epoch = res.Producer.ProducerID, res.Producer.ProducerEpoch
		}
		return res.Error
	})
}

func (c *coordination) addPartition(ctx context.Context) error {
	return c.retry(ctx, "AddPartitionsToTxn", func(ctx context.Context) error {
		res, err := c.client.AddPartitionsToTxn(ctx, &kafka.AddPartitionsToTxnRequest{
			TransactionalID: c.txID,
			ProducerID:      c.pid,
			ProducerEpoch:   c.epoch,
			Topics:          map[string][]kafka.AddPartitionToTxn{c.topic: {{Partition: c.ledger}}},
		})
		if err != nil {
			return err
		}
		added := res.Topics[c.topic]
		if len(added) != 1 {
			return fmt.Errorf("the answer names %d partitions of %s", len(added), c.topic)
		}
		return added[0].Error
	})
}

func (c *coordination) endTransaction(ctx context.Context) error {
	return c.retry(ctx, "EndTxn", func(ctx context.Context) error {
		res, err := c.client.EndTxn(ctx, &kafka.EndTxnRequest{
			TransactionalID: c.txID,
			ProducerID:      c.pid,
			ProducerEpoch:   c.epoch,
			Committed:       true,
		})
		if err != nil {
			return err
		}
		return res.Error
	})
}

// retry repeats a request to the transaction coordinator until its answer is
// definite. All three requests may be repeated.
func (c *coordination) retry(ctx context.Context, name string, request func(context.Context) error) error {
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(2*time.Millisecond),
		backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(0))
	for {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			return request(ctx)
		}()
		if err == nil {
			return nil
		}
		if failure := terminal(err); failure != nil {
			return fmt.Errorf("%s of %s: %w", name, c.txID, failure)
		}
		if worker.Sleep(ctx, pause.NextBackOff()) != nil {
			return fmt.Errorf("%s of %s: %w (last error: %w)", name, c.txID, context.Cause(ctx), err)
		}
	}
}

// Why a writer ended, besides worker.ErrFenced and worker.ErrNotPermitted. Each is wrapped with what the broker said.
var (
	// ErrStateLost: the broker no longer knows this producer; only a takeover
	// with its replay can tell what was written.
	ErrStateLost = errors.New("the broker lost the producer's state")
	// ErrOtherLedger: the outcome partition is not the one that was replayed.
	ErrOtherLedger = errors.New("the outcome partition is another one than was replayed")
	// ErrClosed: the writer was closed by its owner.
	ErrClosed = errors.New("ledger closed")
)

// terminal translates an error that no repetition can mend; nil for the rest.
func terminal(err error) error {
	var code kafka.Error
	if !errors.As(err, &code) {
		return nil // transport: unknown, so again
	}
	switch code {
	case kafka.InvalidProducerEpoch, kafka.ProducerFenced:
		return fmt.Errorf("%w: %w", worker.ErrFenced, err)
	case kafka.OutOfOrderSequenceNumber, kafka.DuplicateSequenceNumber, kafka.UnknownProducerId,
		kafka.InvalidProducerIDMapping, kafka.InvalidTransactionState:
		return fmt.Errorf("%w: %w", ErrStateLost, err)
	case kafka.TopicAuthorizationFailed, kafka.ClusterAuthorizationFailed, kafka.TransactionalIDAuthorizationFailed:
		return fmt.Errorf("%w: %w", worker.ErrNotPermitted, err)
	case kafka.InvalidRecord, kafka.UnsupportedForMessageFormat, kafka.InvalidRequest, kafka.UnsupportedVersion,
		kafka.InvalidTransactionTimeout, kafka.InvalidTimestamp, kafka.InvalidTopic, kafka.InvalidRequiredAcks:
		return err // the broker will say so each time
	}
	return nil
}

// requestTimeout bounds one exchange with a broker.
const requestTimeout = 10 * time.Second
