package producer

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"smscancel/worker"
	"smscancel/worker/dedupe"
)

// entryHeader names the header that carries what a replay needs of an outcome,
// so that its JSON is never parsed. Fields are separated by spaces and only
// ever appended:
//
//	version N topic partition offset timestamp hash answer kind subAccountId
//
// N is the partition count of the outcome topic; timestamp is in Unix
// milliseconds, hash in hex; answer is "-" (answers nobody), "r" (read the
// outcome), "0" or "1" (that cancelledCount); kind is "m" (message), "b"
// (batch) or "-" (no valid target), the id itself is the record key.
const (
	entryHeader  = "smscancel-ledger"
	entryVersion = "1"
)

// entry is the parsed header.
type entry struct {
	partitions int
	topic      []byte
	partition  int
	record     worker.RecordID
	answer     dedupe.Answer
	target     worker.Target
}

var answerCodes = [...]byte{dedupe.None: '-', dedupe.ReadBack: 'r', dedupe.NotCancelled: '0', dedupe.CancelledOne: '1'}

func encodeEntry(partitions int, s source, o *worker.Outcome) []byte {
	kind, sub := byte('-'), "-"
	switch {
	case o.Status == worker.StatusRejected:
	case o.BatchID != "":
		kind, sub = 'b', o.SubAccountID
	default:
		kind, sub = 'm', o.SubAccountID
	}
	h := make([]byte, 0, 128)
	h = append(append(h, entryVersion...), ' ')
	h = append(strconv.AppendInt(h, int64(partitions), 10), ' ')
	h = append(append(h, s.topic...), ' ')
	for _, n := range [...]int64{int64(s.partition), o.Record.Offset, o.Record.Timestamp} {
		h = append(strconv.AppendInt(h, n, 10), ' ')
	}
	h = hex.AppendEncode(h, binary.BigEndian.AppendUint32(nil, o.Record.Hash))
	h = append(h, ' ', answerCodes[o.Answer()], ' ', kind, ' ')
	return append(h, sub...)
}

// parseEntry reads the header of one outcome record.
func parseEntry(header, key []byte) (entry, error) { return new(entryReader).parse(header, key) }

// entryReader reads entries one after another. What they have in common is read
// once, and the strings of many are made with one allocation.
type entryReader struct {
	head  []byte // of the last header: all before the record's offset
	place entry  // what it says
	sub   string // of the last target
	texts strings.Builder
}

const textRoom = 64 << 10

// parse reads the header of an outcome record. Later versions append fields,
// which are ignored; an error means that this is no outcome of ours. Nobody
// may change the entry's topic.
func (r *entryReader) parse(header, key []byte) (entry, error) {
	f := fields{rest: header}
	e := r.source(&f)
	e.record.Offset = f.number(10, 63)
	e.record.Timestamp = f.timestamp()
	e.record.Hash = uint32(f.number(16, 32))
	answer, kind, sub := f.next(), f.next(), f.next()
	if f.failed || len(answer) != 1 || len(kind) != 1 {
		return entry{}, fmt.Errorf("header %s is malformed: %.100q", entryHeader, header)
	}
	if kind[0] == 'm' || kind[0] == 'b' { // one of a later version is about something that we do not cancel
		if string(sub) != r.sub {
			r.sub = string(sub)
		}
		e.target = worker.Target{SubAccountID: r.sub, ID: r.text(key), Batch: kind[0] == 'b'}
		if code := bytes.IndexByte(answerCodes[:], answer[0]); code >= 0 {
			e.answer = dedupe.Answer(code)
		} else {
			e.answer = dedupe.ReadBack // a code of a later version: the outcome itself has the answer
		}
	}
	return e, nil
}

// source reads what stands before the record's offset.
func (r *entryReader) source(f *fields) entry {
	if rest, same := bytes.CutPrefix(f.rest, r.head); same && len(r.head) > 0 {
		f.rest = rest
		return r.place
	}
	header, e := f.rest, entry{}
	f.next() // the version
	e.partitions = int(f.number(10, 31))
	topic := f.next()
	e.partition = int(f.number(10, 31))
	if f.failed || len(f.rest) == 0 {
		return e
	}
	r.head = append(r.head[:0], header[:len(header)-len(f.rest)]...)
	e.topic = bytes.Clone(topic)
	r.place = e
	return e
}

// text is b as a string.
func (r *entryReader) text(b []byte) string {
	if r.texts.Cap()-r.texts.Len() < len(b) {
		r.texts.Reset()
		r.texts.Grow(max(textRoom, len(b)))
	}
	start := r.texts.Len()
	r.texts.Write(b)
	return r.texts.String()[start:]
}

func (e entry) settled(ledger int64, at time.Time) worker.Settled {
	return worker.Settled{Record: e.record, Target: e.target, Answer: e.answer, Ledger: ledger, At: at}
}

// fields splits a header at spaces.
type fields struct {
	rest   []byte
	failed bool
}

func (f *fields) next() []byte {
	field, rest := f.rest, []byte(nil)
	if end := bytes.IndexByte(field, ' '); end >= 0 { // bytes.Cut looks for a slice, which takes longer
		field, rest = field[:end], field[end+1:]
	}
	f.rest = rest
	f.failed = f.failed || len(field) == 0
	return field
}

func (f *fields) number(base, bits int) int64 {
	n, err := strconv.ParseUint(string(f.next()), base, bits)
	f.failed = f.failed || err != nil
	return int64(n)
}

// timestamp may be negative: brokers keep what a producer gave, and -1 is "none".
func (f *fields) timestamp() int64 {
	n, err := strconv.ParseInt(string(f.next()), 10, 64)
	f.failed = f.failed || err != nil
	return n
}
