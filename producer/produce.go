package producer

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

const (
	defaultMaxMessage = 1 << 20 // max.message.bytes of a topic where it may not be read

	// slowest is the network, in bytes a second, that is waited for: a batch that
	// ran out of time has to go out again as it is, and gets more of it.
	slowest = 16 << 10
)

// produce sends a batch once.
func (w *Writer) produce(raw []byte, patience time.Duration) (int64, error) {
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	return rawProduce(ctx, w.ledger.Client, w.ledger.Topic, w.source.ledger, raw)
}

// rawProduce sends an encoded batch and returns its base offset.
func rawProduce(ctx context.Context, client *kafka.Client, topic string, partition int, raw []byte) (int64, error) {
	res, err := client.RawProduce(ctx, &kafka.RawProduceRequest{
		Topic:        topic,
		Partition:    partition,
		RequiredAcks: kafka.RequireAll,
		RawRecords:   protocol.RawRecordSet{Reader: bytes.NewReader(raw)},
	})
	if err != nil {
		return 0, err
	}
	return res.BaseOffset, res.Error
}

func tooLarge(err error) bool {
	return errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge) // of max.message.bytes, of segment.bytes
}

// divisible tells whether a batch that is too large can be written in parts, or
// without a part.
func divisible(batch []*pending) bool { return len(batch) > 1 || batch[0].outcome.Shrunk() != nil }

// refused tells errors after which nothing was written from those that leave it open.
func refused(err error) bool {
	return err == nil || errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, kafka.LeaderNotAvailable) ||
		errors.Is(err, kafka.NotEnoughReplicas) || errors.Is(err, kafka.InvalidMessage) || tooLarge(err)
}

// maxBatch is how large a batch may be.
func (l *Ledger) maxBatch() int {
	if n := l.maxMessageBytes.Load(); n > 0 {
		return int(min(n, defaultMaxMessage))
	}
	return defaultMaxMessage
}

// tooMuch notes that the topic does not take so large a batch: its limit was
// lowered, or may not be read.
func (l *Ledger) tooMuch(batch []*pending) {
	size := batchHeader
	for _, p := range batch {
		size += p.size
	}
	now, smaller := l.maxMessageBytes.Load(), int64(size/2)
	if (now == 0 || smaller < now) && l.maxMessageBytes.CompareAndSwap(now, smaller) {
		l.Log.Warn().Int("bytes", size).Str("topic", l.Topic).Msg("batch too large for the topic's max.message.bytes; writing smaller ones from now on")
	}
}
