package records

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// response is the answer to an exchange. It shares the memory of what was read.
type response struct {
	errorCode int16 // of the whole request
	topic     string
	partition int32
	part      partitionResponse
	found     bool // a partition was answered
}

type partitionResponse struct {
	errorCode        int16
	highWatermark    int64
	lastStableOffset int64
	logStartOffset   int64
	aborted          []abortedTransaction
	batches          []byte
	body             []byte // of the whole response, of which all this is a part
}

// ApiKey makes the response a message of the protocol.
func (*response) ApiKey() protocol.ApiKey { return protocol.Fetch }

// page turns the answer into the page that was asked for.
func (r *response) page(req FetchRequest) (*Page, error) {
	if r.errorCode != 0 {
		return nil, kafka.Error(r.errorCode)
	}
	if !r.found || r.topic != req.Topic || int(r.partition) != req.Partition {
		return nil, errors.New("the response is not about this partition")
	}
	p := &r.part
	if p.errorCode != 0 && p.highWatermark < 0 {
		return nil, kafka.Error(p.errorCode)
	}
	page := newPage(p, req)
	if p.errorCode != 0 {
		return page, kafka.Error(p.errorCode)
	}
	return page, page.stalled()
}

// parseResponse reads the body of a Fetch response, versions 4 to 11. Field
// order: https://kafka.apache.org/protocol.html#The_Messages_Fetch.
func parseResponse(body []byte, version int16) (*response, error) {
	d := &decoder{rest: body}
	r := &response{}
	d.int32() // throttle time: the broker has waited already
	if version >= 7 {
		r.errorCode = d.int16()
		d.int32() // session id
	}
	if topics := d.count(); topics > 1 {
		return nil, fmt.Errorf("response of %d topics, asked for one", topics)
	} else if topics == 1 {
		r.parseTopic(d, version)
	}
	if d.err == nil && len(d.rest) > 0 {
		d.err = fmt.Errorf("%d bytes behind the response", len(d.rest))
	}
	if d.err != nil {
		return nil, fmt.Errorf("malformed response: %w", d.err)
	}
	return r, nil
}

func (r *response) parseTopic(d *decoder, version int16) {
	r.topic = d.string()
	switch n := d.count(); {
	case n > 1:
		d.fail(fmt.Errorf("%d partitions, asked for one", n))
	case n == 1:
		r.partition = d.int32()
		r.part.parse(d, version)
		r.found = true
	}
}

func (p *partitionResponse) parse(d *decoder, version int16) {
	p.errorCode = d.int16()
	p.highWatermark = d.int64()
	p.lastStableOffset = d.int64()
	p.logStartOffset = -1
	if version >= 5 {
		p.logStartOffset = d.int64()
	}
	p.aborted = d.aborted()
	if version >= 11 {
		d.int32() // preferred read replica: none, since no rack was named
	}
	p.batches = d.bytes()
}

// decoder reads the primitive types of the protocol. After the first error
// everything reads as zero.
type decoder struct {
	rest []byte
	err  error
}

var errTruncated = errors.New("truncated")

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = nil
}

// next returns the following n bytes; nil if there are fewer.
func (d *decoder) next(n int) []byte {
	if n < 0 || n > len(d.rest) {
		d.fail(errTruncated)
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) int16() int16 {
	if b := d.next(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *decoder) int32() int32 {
	if b := d.next(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if b := d.next(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (d *decoder) string() string { return string(d.next(int(d.int16()))) }

// count is the length of an array; -1 stands for null and counts as empty.
func (d *decoder) count() int { return max(int(d.int32()), 0) }

// bytes reads nullable bytes. Null reads as empty.
func (d *decoder) bytes() []byte { return d.next(d.count()) }

func (d *decoder) aborted() []abortedTransaction {
	const size = 16
	n := d.count()
	if n > len(d.rest)/size { // before anything is allocated for them
		d.fail(errTruncated)
		return nil
	}
	if n == 0 {
		return nil
	}
	all := make([]abortedTransaction, n)
	for i := range all {
		all[i] = abortedTransaction{producerID: d.int64(), firstOffset: d.int64()}
	}
	return all
}
