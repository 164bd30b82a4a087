package records

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"

	"github.com/pierrec/lz4/v4"
	"github.com/segmentio/kafka-go"
)

// item is a record to be encoded.
type item struct {
	delta      int64 // offset minus base offset
	time       int64 // timestamp minus base timestamp
	key, value []byte
	headers    []kafka.Header
}

// batchOf is a batch to be encoded by hand, independently of any client.
type batchOf struct {
	base       int64
	items      []item
	codec      kafka.Compression
	attributes uint16 // besides the codec
	lastDelta  int32  // 0 = that of the last item
	baseTime   int64
	maxTime    int64
	producerID int64
	epoch      int16
	count      int32  // 0 = as many as there are items
	content    []byte // in the place of the encoded items
}

func (b batchOf) encode(t testing.TB) []byte {
	t.Helper()
	if n := len(b.items); b.lastDelta == 0 && n > 0 {
		b.lastDelta = int32(b.items[n-1].delta)
	}
	if b.count == 0 {
		b.count = int32(len(b.items))
	}
	if b.content == nil {
		b.content = compressed(t, b.codec, encodeItems(b.items))
	}
	raw := binary.BigEndian.AppendUint64(nil, uint64(b.base))
	raw = binary.BigEndian.AppendUint32(raw, uint32(headerSize-atEpoch+len(b.content)))
	raw = binary.BigEndian.AppendUint32(raw, 7) // leader epoch
	raw = append(raw, magic2, 0, 0, 0, 0)
	raw = binary.BigEndian.AppendUint16(raw, b.attributes|uint16(b.codec))
	raw = binary.BigEndian.AppendUint32(raw, uint32(b.lastDelta))
	raw = binary.BigEndian.AppendUint64(raw, uint64(b.baseTime))
	raw = binary.BigEndian.AppendUint64(raw, uint64(b.maxTime))
	raw = binary.BigEndian.AppendUint64(raw, uint64(b.producerID))
	raw = binary.BigEndian.AppendUint16(raw, uint16(b.epoch))
	raw = binary.BigEndian.AppendUint32(raw, 0) // base sequence
	raw = binary.BigEndian.AppendUint32(raw, uint32(b.count))
	raw = append(raw, b.content...)
	seal(raw)
	return raw
}

// seal makes the checksum of a batch right.
func seal(batch []byte) {
	sum := crc32.Checksum(batch[atAttributes:], crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(batch[atChecksum:], sum)
}

// sealAll makes the checksums of all whole batches right.
func sealAll(raw []byte) {
	for len(raw) > headerSize {
		size := int64(int32(binary.BigEndian.Uint32(raw[atLength:]))) + atEpoch
		if size < headerSize || size > int64(len(raw)) {
			return
		}
		seal(raw[:size])
		raw = raw[size:]
	}
}

func encodeItems(items []item) (out []byte) {
	for _, it := range items {
		rec := []byte{0}
		rec = binary.AppendVarint(rec, it.time)
		rec = binary.AppendVarint(rec, it.delta)
		rec = appendField(rec, it.key)
		rec = appendField(rec, it.value)
		rec = binary.AppendVarint(rec, int64(len(it.headers)))
		for _, h := range it.headers {
			rec = appendField(rec, []byte(h.Key))
			rec = appendField(rec, h.Value)
		}
		out = binary.AppendVarint(out, int64(len(rec)))
		out = append(out, rec...)
	}
	return out
}

func appendField(b, field []byte) []byte {
	if field == nil {
		return binary.AppendVarint(b, -1)
	}
	return append(binary.AppendVarint(b, int64(len(field))), field...)
}

func compressed(t testing.TB, c kafka.Compression, b []byte) []byte {
	t.Helper()
	codec := c.Codec()
	if codec == nil {
		return b
	}
	var out bytes.Buffer
	w := codec.NewWriter(&out)
	if c == kafka.Lz4 {
		small := lz4.NewWriter(&out) // blocks of 64 KiB, as Java makes them
		if err := small.Apply(lz4.BlockSizeOption(lz4.Block64Kb)); err != nil {
			t.Fatal(err)
		}
		w = small
	}
	if _, err := io.Copy(w, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// markerOf is a control batch.
func markerOf(offset, producerID int64, kind MarkerType) batchOf {
	key := binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(kind))
	return batchOf{
		base: offset, producerID: producerID, attributes: controlBit | transactionalBit,
		items: []item{{key: key, value: make([]byte, 6)}},
	}
}

// plain is a data batch of n small records.
func plain(base int64, n int) batchOf {
	b := batchOf{base: base, producerID: -1, baseTime: 1000, maxTime: 1000 + int64(n)}
	for i := range n {
		b.items = append(b.items, item{
			delta: int64(i), time: int64(i), key: []byte{'k', byte('0' + i%10)}, value: []byte("value"),
			headers: []kafka.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}},
		})
	}
	return b
}

// in makes the batch one of a transaction.
func (b batchOf) in(producerID int64) batchOf {
	b.producerID = producerID
	b.attributes |= transactionalBit
	return b
}

func log(t testing.TB, batches ...batchOf) (raw []byte) {
	t.Helper()
	for _, b := range batches {
		raw = append(raw, b.encode(t)...)
	}
	return raw
}

// pageOf is the page that a fetch from an offset makes of batches.
func pageOf(raw []byte, from int64) *Page {
	return newPage(&partitionResponse{highWatermark: 1 << 40, batches: raw}, FetchRequest{Offset: from})
}

// read iterates a page: the offsets of its records, and what ended it.
func read(p *Page) (offsets []int64, err error) {
	for rec, err := range p.Records() {
		if err != nil {
			return offsets, err
		}
		offsets = append(offsets, rec.Offset)
	}
	return offsets, nil
}

// span is the offsets from first to last.
func span(first, last int64) (all []int64) {
	for o := first; o <= last; o++ {
		all = append(all, o)
	}
	return all
}

// responseOf is the body of a Fetch response with one partition.
func responseOf(version int16, topic string, partition int32, p partitionResponse) []byte {
	b := binary.BigEndian.AppendUint32(nil, 5) // throttle time
	if version >= 7 {
		b = append(b, 0, 0, 0, 0, 0, 0)
	}
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint16(b, uint16(len(topic)))
	b = append(b, topic...)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, uint32(partition))
	b = binary.BigEndian.AppendUint16(b, uint16(p.errorCode))
	b = binary.BigEndian.AppendUint64(b, uint64(p.highWatermark))
	b = binary.BigEndian.AppendUint64(b, uint64(p.lastStableOffset))
	if version >= 5 {
		b = binary.BigEndian.AppendUint64(b, uint64(p.logStartOffset))
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.aborted)))
	for _, a := range p.aborted {
		b = binary.BigEndian.AppendUint64(b, uint64(a.producerID))
		b = binary.BigEndian.AppendUint64(b, uint64(a.firstOffset))
	}
	if version >= 11 {
		b = binary.BigEndian.AppendUint32(b, 0xffffffff)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(p.batches)))
	return append(b, p.batches...)
}
