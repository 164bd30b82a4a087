package records

import (
	"errors"
	"fmt"
	"iter"
)

// Record is one record of a partition. Its slices share the page's memory.
type Record struct {
	Offset    int64
	Timestamp int64   // Unix milliseconds
	Key       []byte  // nil if the record has none, which is not the same as an empty one
	Value     []byte  // likewise; nil is a tombstone
	Headers   Headers // decoded when asked for
}

// Headers are the headers of a record. They have been checked when the record
// was read, so that iterating them cannot fail.
type Headers struct {
	raw   []byte
	count int
}

// Len is the number of headers.
func (h Headers) Len() int { return h.count }

// All yields names and values in the order of the record. Names may repeat; a
// value may be nil.
func (h Headers) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		c := cursor{rest: h.raw}
		for range h.count {
			name, value := c.field(), c.field()
			if c.bad || !yield(name, value) {
				return
			}
		}
	}
}

// Get returns the value of the first header of a name, and whether there is one.
func (h Headers) Get(name string) (value []byte, ok bool) {
	for n, v := range h.All() {
		if string(n) == name {
			return v, true
		}
	}
	return nil, false
}

var errMalformed = errors.New("malformed record")

// visit yields the records from b.from on, and tells whether the reader wants
// to go on with what follows the batch.
func (b *Batch) visit(yield func(Record, error) bool) bool {
	content, err := b.content()
	if err != nil {
		yield(Record{}, fmt.Errorf("batch at offset %d: %w", b.BaseOffset, err))
		return false
	}
	last := b.BaseOffset - 1
	for range b.count {
		var rec Record
		rec, content, err = b.record(content)
		if err == nil && (rec.Offset <= last || rec.Offset > b.LastOffset) {
			err = errMalformed
		}
		if err != nil {
			yield(Record{}, fmt.Errorf("batch at offset %d, after offset %d: %w", b.BaseOffset, last, err))
			return false
		}
		last = rec.Offset
		if rec.Offset >= b.from && !yield(rec, nil) {
			return false
		}
	}
	if b.count < 0 || len(content) > 0 {
		yield(Record{}, fmt.Errorf("batch at offset %d: %d bytes behind its %d records", b.BaseOffset, len(content), b.count))
		return false
	}
	return true
}

// content is the records of the batch, decompressed.
func (b *Batch) content() ([]byte, error) {
	if b.Compression == 0 {
		return b.raw[headerSize:], nil
	}
	return decompress(b.Compression, b.raw[headerSize:])
}

// record reads one record and returns what follows it.
func (b *Batch) record(content []byte) (rec Record, rest []byte, err error) {
	c := cursor{rest: content}
	size := c.varint()
	if c.bad || size < 1 || size > int64(len(c.rest)) {
		return rec, nil, errMalformed
	}
	rest = c.rest[size:]
	c.rest = c.rest[1:size:size] // the attributes of a record have no bits in use
	rec.Timestamp = b.baseTimestamp + c.varint()
	if b.LogAppendTime {
		rec.Timestamp = b.MaxTimestamp
	}
	rec.Offset = b.BaseOffset + c.varint()
	rec.Key = c.field()
	rec.Value = c.field()
	rec.Headers = c.headers()
	if c.bad || len(c.rest) > 0 {
		return rec, nil, errMalformed
	}
	return rec, rest, nil
}

// cursor reads the parts of a record. Once something does not fit, bad is set
// and everything reads as empty.
type cursor struct {
	rest []byte
	bad  bool
}

// varint reads a zigzag-encoded number.
func (c *cursor) varint() int64 {
	if len(c.rest) > 0 && c.rest[0] < 0x80 { // by far most of them
		v := uint64(c.rest[0])
		c.rest = c.rest[1:]
		return int64(v>>1) ^ -int64(v&1)
	}
	return c.longVarint()
}

func (c *cursor) longVarint() int64 {
	v := uint64(0)
	for i, b := range c.rest {
		if i == 10 || i == 9 && b > 1 { // more than 64 bits
			break
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			c.rest = c.rest[i+1:]
			return int64(v>>1) ^ -int64(v&1)
		}
	}
	c.fail()
	return 0
}

// field reads bytes with their length before them; -1 stands for nil.
func (c *cursor) field() []byte {
	n := c.varint()
	if n == -1 {
		return nil
	}
	if n < 0 || n > int64(len(c.rest)) {
		c.fail()
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

// headers checks the headers, which are the rest of a record.
func (c *cursor) headers() Headers {
	n := c.varint()
	if n < 0 {
		c.fail()
		return Headers{}
	}
	h := Headers{raw: c.rest, count: int(n)}
	for range n {
		if name := c.field(); name == nil {
			c.fail() // a name cannot be null
		}
		c.field()
		if c.bad {
			return Headers{}
		}
	}
	return h
}

func (c *cursor) fail() {
	c.bad = true
	c.rest = nil
}
