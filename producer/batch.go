package producer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/segmentio/kafka-go/protocol"

	"smscancel/worker"
)

// Where a version 2 record batch keeps its producer fields, in bytes from its
// start (https://kafka.apache.org/documentation/#recordbatch).
const (
	batchCRC          = 17
	batchAttributes   = 21 // the CRC covers everything from here
	batchProducerID   = 43
	batchEpoch        = 51
	batchBaseSequence = 53
	batchHeader       = 61
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeBatch renders records as one idempotent, non-transactional batch in the
// form that RawProduce sends: a length, then the batch. kafka-go has no
// idempotent producer, so its batch gets the producer's identity afterwards.
func encodeBatch(rs []protocol.Record, pid int64, epoch int16, sequence int32) ([]byte, error) {
	var buf bytes.Buffer
	buf.Grow(sizeOf(rs))
	set := protocol.RecordSet{Version: 2, Records: protocol.NewRecordReader(rs...)}
	if _, err := set.WriteTo(&buf); err != nil {
		return nil, fmt.Errorf("encode a batch of %d records: %w", len(rs), err)
	}
	raw := buf.Bytes()
	batch := raw[4:]
	binary.BigEndian.PutUint64(batch[batchProducerID:], uint64(pid))
	binary.BigEndian.PutUint16(batch[batchEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(batch[batchBaseSequence:], uint32(sequence))
	binary.BigEndian.PutUint32(batch[batchCRC:], crc32.Checksum(batch[batchAttributes:], castagnoli))
	return raw, nil
}

// sizeOf is an upper bound of what records take in a batch.
func sizeOf(rs []protocol.Record) int {
	size := 4 + batchHeader
	for i := range rs {
		size += recordOverhead
		for _, part := range []protocol.Bytes{rs[i].Key, rs[i].Value} {
			if part != nil {
				size += part.Len()
			}
		}
		for _, h := range rs[i].Headers {
			size += headerOverhead + len(h.Key) + len(h.Value)
		}
	}
	return size
}

// What the lengths and numbers of a record take at most, and those of a header.
const (
	recordOverhead = 32
	headerOverhead = 8
)

// nextSequence is the sequence after n records; sequences wrap to 0 beyond 2³¹−1.
func nextSequence(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & 0x7fffffff)
}

// pending is an outcome on its way into the ledger.
type pending struct {
	outcome *worker.Outcome
	key     []byte // nil for none
	value   []byte
	headers []protocol.Header
	size    int // an upper bound of its bytes in a batch
	queued  time.Time

	done   chan struct{} // closed when offset or err is set
	offset int64
	err    error
}

// recordsOf are the records of a batch. Their time is now: the broker forgets
// producers by the age of their records, so it is never an event's own.
func recordsOf(batch []*pending) []protocol.Record {
	rs := make([]protocol.Record, len(batch))
	now := time.Now()
	for i, p := range batch {
		rs[i] = protocol.Record{Time: now, Key: protocol.NewBytes(p.key), Value: protocol.NewBytes(p.value), Headers: p.headers}
	}
	return rs
}

func (p *pending) resolve(offset int64, err error) {
	p.offset, p.err = offset, err
	close(p.done)
}
