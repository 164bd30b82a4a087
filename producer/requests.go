package producer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"smscancel/worker"
)

// Requests publishes cancel requests to one topic. It keys and partitions as
// every producer of the topic must: by lower-case id, with murmur2 as Java does,
// so that all records of one message meet in one partition. It is idempotent: a
// batch whose acknowledgement was lost is sent again and stands there once.
type Requests struct {
	client *kafka.Client
	topic  string

	// Patience is how long a batch may go without an answer that can be used
	// before Publish gives up.
	Patience time.Duration

	// Trouble is told why a batch has to be sent again, at its first try. It may be
	// called by several goroutines at once; nil = nobody wants to know.
	Trouble func(error)

	mu         sync.Mutex // one Publish at a time
	partitions []*requestPartition
	numbers    []int // of the partitions
	pid        int64 // -1 = not idempotent, see identify
	epoch      int16
}

const defaultPatience = 2 * time.Minute

// NewRequests returns a publisher to a request topic.
func NewRequests(client *kafka.Client, topic string) *Requests {
	return &Requests{client: client, topic: topic, Patience: defaultPatience}
}

// Request is one record to publish. ID is its umid or batchId; a row that is
// too broken to have one gets an empty key.
type Request struct {
	ID    string
	Value []byte

	// Partition, if not nil, is where the record must go: that of an earlier record
	// of the same message.
	Partition *int
}

// Span is a run of records in one partition of the topic.
type Span struct {
	Partition int   `json:"p"`
	From      int64 `json:"from"` // first offset
	To        int64 `json:"to"`   // offset behind the last
}

// TooLargeError is a request that the topic does not take.
type TooLargeError struct {
	Topic string
	Bytes int
	Index int // among those that were published together
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("a request of %d bytes is too large for topic %s: raise its max.message.bytes", e.Bytes, e.Topic)
}

// Open finds the topic and gets ready to publish; Publish does it if need be.
func (r *Requests) Open(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open(ctx)
}

func (r *Requests) open(ctx context.Context) error {
	if r.partitions != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	n, err := PartitionCount(ctx, r.client, r.topic)
	if err != nil {
		return err
	}
	if err := r.identify(ctx); err != nil {
		return err
	}
	for p := range n {
		r.numbers = append(r.numbers, p)
		r.partitions = append(r.partitions, &requestPartition{Requests: r, partition: p, maxBatch: defaultMaxMessage * 7 / 8})
	}
	return nil
}

// identify gets a producer id. A cluster older than Kafka 3 wants a permission
// for it that writers may not have: then a resent batch may stand there twice.
func (r *Requests) identify(ctx context.Context) (err error) {
	for {
		r.pid, r.epoch, err = newProducerID(ctx, r.client)
		if errors.Is(err, kafka.ClusterAuthorizationFailed) {
			r.pid, r.epoch, err = -1, -1, nil
		}
		var code kafka.Error // such as 14, from a broker that has just started
		if !errors.As(err, &code) || !passes(err) || worker.Sleep(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}

// Publish sends requests and returns where they stand when all are durable. With
// an error it returns those that are known to be. When ctx ends, what is being
// sent may still be acknowledged, for a few seconds.
func (r *Requests) Publish(ctx context.Context, requests ...Request) ([]Span, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	shares := make([][]record, len(r.partitions))
	for i, req := range requests {
		key := []byte(worker.Target{ID: req.ID}.Key())
		p := r.partitionOf(key)
		if req.Partition != nil {
			p = *req.Partition
		}
		if p < 0 || p >= len(shares) {
			return nil, fmt.Errorf("topic %s has no partition %d: %w", r.topic, p, kafka.UnknownTopicOrPartition)
		}
		shares[p] = append(shares[p], record{key, req.Value, i})
	}
	return r.spread(ctx, shares)
}

// spread writes to all partitions side by side.
func (r *Requests) spread(ctx context.Context, shares [][]record) (spans []Span, err error) {
	var mu sync.Mutex
	var writers sync.WaitGroup
	for p, share := range shares {
		if len(share) == 0 {
			continue
		}
		writers.Go(func() {
			written, failed := r.partitions[p].write(ctx, share)
			mu.Lock()
			defer mu.Unlock()
			spans, err = append(spans, written...), errors.Join(err, failed)
		})
	}
	writers.Wait()
	if joined, ok := err.(interface{ Unwrap() []error }); ok && len(joined.Unwrap()) > 0 {
		err = joined.Unwrap()[0] // the others most likely say the same
	}
	return spans, err
}

// partitionOf is the partition for a key.
func (r *Requests) partitionOf(key []byte) int {
	return kafka.Murmur2Balancer{Consistent: true}.Balance(kafka.Message{Key: key}, r.numbers...)
}

// record is a request on its way, and its place among those of its Publish.
type record struct {
	key, value []byte
	index      int
}

// size is an upper bound of its bytes in a batch.
func (r record) size() int { return len(r.key) + len(r.value) + 32 }

// requestPartition writes to one partition, one batch at a time.
type requestPartition struct {
	*Requests
	partition int
	sequence  int32
	maxBatch  int // less where the topic takes no such batch
}

func (p *requestPartition) write(ctx context.Context, share []record) (spans []Span, err error) {
	for len(share) > 0 {
		n, size := 0, batchHeader
		for n < len(share) && n < maxBatchRecords && (n == 0 || size+share[n].size() <= p.maxBatch) {
			size += share[n].size()
			n++
		}
		base, err := p.send(ctx, share[:n])
		switch {
		case tooLarge(err) && n > 1:
			p.maxBatch = size / 2
			continue
		case tooLarge(err):
			return spans, &TooLargeError{Topic: p.topic, Bytes: size, Index: share[0].index}
		case err != nil:
			return spans, fmt.Errorf("write to topic %s: %w", p.topic, err)
		}
		if last := len(spans) - 1; last >= 0 && spans[last].To == base {
			spans[last].To += int64(n)
		} else {
			spans = append(spans, Span{Partition: p.partition, From: base, To: base + int64(n)})
		}
		share = share[n:]
	}
	return spans, nil
}

// send repeats one batch, byte for byte, until it is durable or refused.
func (p *requestPartition) send(ctx context.Context, share []record) (int64, error) {
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(20*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second), backoff.WithMaxElapsedTime(0))
	raw, err := p.encode(share)
	if err != nil {
		return 0, err
	}
	for first := time.Now(); ; {
		base, err := p.produce(ctx, raw)
		if err == nil {
			p.sequence = nextSequence(p.sequence, len(share))
			return base, nil
		}
		if tooLarge(err) || !passes(err) || time.Since(first) > p.Patience || ctx.Err() != nil {
			return 0, err
		}
		if p.Trouble != nil {
			p.Trouble(err)
		}
		if worker.Sleep(ctx, pause.NextBackOff()) != nil {
			return 0, err
		}
	}
}

func (p *requestPartition) encode(share []record) ([]byte, error) {
	rs := make([]protocol.Record, len(share))
	now := time.Now()
	for i, rec := range share {
		rs[i] = protocol.Record{Time: now, Key: protocol.NewBytes(rec.key), Value: protocol.NewBytes(rec.value)}
	}
	sequence := p.sequence
	if p.pid < 0 {
		sequence = -1
	}
	return encodeBatch(rs, p.pid, p.epoch, sequence)
}

// lastWord is what an exchange with a broker gets to end after ctx has ended, so
// that what was written is known to be.
const lastWord = 3 * time.Second

// produce sends a batch once.
func (p *requestPartition) produce(ctx context.Context, raw []byte) (int64, error) {
	exchange, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout+time.Duration(len(raw))*time.Second/slowest)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWord, cancel) })()
	return rawProduce(exchange, p.client, p.topic, p.partition, raw)
}

// passes tells errors that another try may not meet.
func passes(err error) bool {
	if terminal(err) != nil {
		return false
	}
	var code kafka.Error
	return !errors.As(err, &code) || code.Temporary() || code.Timeout()
}
