package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"math"

	"github.com/segmentio/kafka-go"
)

// Batch is a record batch: what one producer appended at once. Its fields are
// those of the batch header
// (https://kafka.apache.org/documentation/#recordbatch).
type Batch struct {
	BaseOffset    int64 // of the first record, also if that one was compacted away
	LastOffset    int64 // of the last record, likewise
	LeaderEpoch   int32 // of the leader that appended the batch
	MaxTimestamp  int64 // Unix milliseconds
	ProducerID    int64 // -1 for a producer that is not idempotent
	ProducerEpoch int16
	BaseSequence  int32

	Compression   kafka.Compression // 0 = none
	LogAppendTime bool              // the broker set the time: all records have MaxTimestamp
	Transactional bool              // part of a transaction
	Control       bool              // holds a marker instead of records; see Marker

	baseTimestamp int64
	count         int32
	from          int64  // records below are left out
	raw           []byte // the whole batch
}

// Places in a batch. All before the attributes is outside of the checksum.
const (
	atLength     = 8
	atEpoch      = 12
	atMagic      = 16
	atChecksum   = 17
	atAttributes = 21
	atLastDelta  = 23
	atBaseTime   = 27
	atMaxTime    = 35
	atProducerID = 43
	atProdEpoch  = 51
	atSequence   = 53
	atCount      = 57
	headerSize   = 61
)

// Bits of the attributes.
const (
	compressionMask  = 1<<3 - 1
	logAppendTimeBit = 1 << 3
	transactionalBit = 1 << 4
	controlBit       = 1 << 5
)

const magic2 = 2

// Records yields the records of a data batch, from the offset that was asked
// for; a control batch has none. An error ends the iteration; all records
// before the damage have been yielded by then.
func (b *Batch) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if !b.Control {
			b.visit(yield)
		}
	}
}

// MarkerType says what a control marker stands for.
type MarkerType int16

// The markers that end a transaction. Others exist in logs of Kafka itself.
const (
	MarkerAbort  MarkerType = 0
	MarkerCommit MarkerType = 1
)

// Marker is the content of a control batch. Producer id and epoch are the
// batch's.
type Marker struct {
	Offset    int64
	Timestamp int64 // Unix milliseconds
	Type      MarkerType
}

var errNoMarker = errors.New("not a control batch")

// Marker reads the marker of a control batch.
func (b *Batch) Marker() (m Marker, err error) {
	err = errNoMarker
	if !b.Control {
		return m, err
	}
	whole := *b
	whole.from = math.MinInt64
	whole.visit(func(rec Record, damage error) bool {
		if m, err = parseMarker(rec); damage != nil {
			err = damage
		}
		return false
	})
	if err != nil {
		err = fmt.Errorf("control batch at offset %d: %w", b.BaseOffset, err)
	}
	return m, err
}

// parseMarker reads version and type, the key of a marker.
func parseMarker(rec Record) (Marker, error) {
	if len(rec.Key) < 4 {
		return Marker{}, fmt.Errorf("marker key of %d bytes", len(rec.Key))
	}
	kind := int16(binary.BigEndian.Uint16(rec.Key[2:]))
	return Marker{Offset: rec.Offset, Timestamp: rec.Timestamp, Type: MarkerType(kind)}, nil
}

// frame is where a batch stands in the log and how many bytes it has.
type frame struct {
	baseOffset int64
	lastOffset int64
	size       int // 0 if the batch is cut off
}

// parseFrame reads the frame of the batch that raw begins with.
func parseFrame(raw []byte) (frame, error) {
	if len(raw) <= atMagic {
		return frame{}, nil
	}
	base := int64(binary.BigEndian.Uint64(raw))
	if raw[atMagic] != magic2 {
		return frame{}, fmt.Errorf("batch at offset %d has format %d, only 2 is supported", base, raw[atMagic])
	}
	size := int64(int32(binary.BigEndian.Uint32(raw[atLength:]))) + atEpoch
	if size < headerSize {
		return frame{}, fmt.Errorf("batch at offset %d has %d bytes, fewer than its header", base, size)
	}
	if size > int64(len(raw)) {
		return frame{}, nil
	}
	delta := int64(int32(binary.BigEndian.Uint32(raw[atLastDelta:])))
	if base < 0 || delta < 0 || base > math.MaxInt64-1-delta {
		return frame{}, fmt.Errorf("batch at offset %d has a last offset delta of %d", base, delta)
	}
	return frame{baseOffset: base, lastOffset: base + delta, size: int(size)}, nil
}

// parseBatch reads the header of the batch that raw begins with. Its frame has
// been checked, its content has not.
func parseBatch(raw []byte, from int64) Batch {
	size := atEpoch + int(binary.BigEndian.Uint32(raw[atLength:]))
	base := int64(binary.BigEndian.Uint64(raw))
	attributes := binary.BigEndian.Uint16(raw[atAttributes:])
	return Batch{
		BaseOffset:    base,
		LastOffset:    base + int64(binary.BigEndian.Uint32(raw[atLastDelta:])),
		LeaderEpoch:   int32(binary.BigEndian.Uint32(raw[atEpoch:])),
		MaxTimestamp:  int64(binary.BigEndian.Uint64(raw[atMaxTime:])),
		ProducerID:    int64(binary.BigEndian.Uint64(raw[atProducerID:])),
		ProducerEpoch: int16(binary.BigEndian.Uint16(raw[atProdEpoch:])),
		BaseSequence:  int32(binary.BigEndian.Uint32(raw[atSequence:])),
		Compression:   kafka.Compression(attributes & compressionMask),
		LogAppendTime: attributes&logAppendTimeBit != 0,
		Transactional: attributes&transactionalBit != 0,
		Control:       attributes&controlBit != 0,
		baseTimestamp: int64(binary.BigEndian.Uint64(raw[atBaseTime:])),
		count:         int32(binary.BigEndian.Uint32(raw[atCount:])),
		from:          from,
		raw:           raw[:size:size],
	}
}

func (b *Batch) size() int { return len(b.raw) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// check compares the checksum.
func (b *Batch) check() error {
	want := binary.BigEndian.Uint32(b.raw[atChecksum:])
	if got := crc32.Checksum(b.raw[atAttributes:], castagnoli); got != want {
		return fmt.Errorf("batch at offset %d is corrupt: checksum %08x, computed %08x", b.BaseOffset, want, got)
	}
	return nil
}
