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

func (p *pending) resolve(offset int64, err error) {
	p.offset, p.err = offset, err
	close(p.done)
}
