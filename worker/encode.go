package worker

import (
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Limits of an outcome, in bytes. Texts are cut at a rune.
const (
	MaxOutcomeSize  = 256 << 10 // of key, value and headers together
	maxErrorMessage = 1 << 10
	maxErrorText    = 256
	maxTrace        = 1 << 10 // of an echoed header
)

// OutcomeType is the CloudEvents type of an outcome.
const OutcomeType = "com.8x8.sms.cancel.outcome.v1"

const jsonType = "application/json"

// encodeOptions make the encoding total (a text that is not UTF-8 comes out with
// replacement characters) and repeatable.
var encodeOptions = json.JoinOptions(jsontext.AllowInvalidUTF8(true), json.Deterministic(true))

// Encode renders the outcome as the value and headers of its record, which is a
// CloudEvent in binary mode. Texts beyond their limits are cut; an outcome that
// is still too large gives up parts of itself, see [Outcome.Shrunk]. The
// outcome itself stays as it is.
func (o *Outcome) Encode() (value []byte, headers []Header, err error) {
	bounded := o.bounded()
	for smaller := &bounded; smaller != nil; smaller = smaller.Shrunk() {
		if value, err = json.Marshal(smaller, encodeOptions); err != nil {
			return nil, nil, fmt.Errorf("encode outcome %s: %w", o.OutcomeID, err)
		}
		headers = smaller.headers()
		if recordSize(o.Key, value, headers) <= MaxOutcomeSize {
			return value, headers, nil
		}
	}
	return nil, nil, fmt.Errorf("encode outcome %s: larger than %d bytes", o.OutcomeID, MaxOutcomeSize)
}

// Shrunk returns a copy without the largest part that the outcome can do
// without: the rejected record's value first, then the metadata. It returns nil
// when there is nothing left to drop.
func (o *Outcome) Shrunk() *Outcome {
	smaller := *o
	switch {
	case o.Source.Value != nil:
		smaller.Source.Value, smaller.Source.Truncated = nil, true
	case o.Metadata != nil:
		smaller.Metadata = nil
	default:
		return nil
	}
	return &smaller
}

// DecodeOutcome reads the value of an outcome record. Fields of later versions
// are ignored. Key, Record and the trace context are not in the value.
func DecodeOutcome(value []byte) (*Outcome, error) {
	var o Outcome
	if err := json.Unmarshal(value, &o); err != nil {
		return nil, fmt.Errorf("decode outcome: %w", err)
	}
	return &o, nil
}

// bounded returns a copy whose texts keep their limits. The error is copied
// too: duplicates share that of the outcome that answers them.
func (o *Outcome) bounded() Outcome {
	b := *o
	b.TraceParent, b.TraceState = cut(o.TraceParent, maxTrace), cutTrace(o.TraceState)
	if o.Error != nil {
		e := *o.Error
		e.Message = cut(e.Message, maxErrorMessage)
		e.ErrorID = cut(e.ErrorID, maxErrorText)
		e.Timestamp = cut(e.Timestamp, maxErrorText)
		b.Error = &e
	}
	return b
}

// headers are the attributes of the CloudEvent. The source names the request
// topic, whose records the outcomes answer, as a relative URI; the subject is
// the id of the message or batch.
func (o *Outcome) headers() []Header {
	h, values := make([]Header, 0, 9), make([]byte, 0, 256) // of all together
	add := func(key, value string) {
		if start := len(values); value != "" {
			values = append(values, value...)
			h = append(h, Header{Key: key, Value: values[start:len(values):len(values)]})
		}
	}
	add("content-type", jsonType)
	add("ce_specversion", "1.0")
	add("ce_id", o.OutcomeID)
	add("ce_source", "smscancel/"+url.PathEscape(o.Source.Topic))
	add("ce_type", OutcomeType)
	add("ce_time", o.CompletedAt)
	add("ce_subject", o.UMID+o.BatchID) // one of the two
	add("traceparent", o.TraceParent)
	add("tracestate", o.TraceState)
	return h
}

func recordSize(key, value []byte, headers []Header) int {
	size := len(key) + len(value)
	for _, h := range headers {
		size += len(h.Key) + len(h.Value)
	}
	return size
}

// cut returns the longest beginning of s within limit bytes that ends with a
// whole rune. What is not UTF-8 in it is replaced by U+FFFD, byte by byte.
func cut(s string, limit int) string {
	if len(s) <= limit && utf8.ValidString(s) {
		return s
	}
	kept := make([]byte, 0, limit)
	for _, r := range s {
		if len(kept)+utf8.RuneLen(r) > limit {
			break
		}
		kept = utf8.AppendRune(kept, r)
	}
	return string(kept)
}

// cutTrace cuts a tracestate where an entry ends: W3C Trace Context asks that
// entries are dropped whole. A single entry that is too long is cut like a text.
func cutTrace(s string) string {
	kept := cut(s, maxTrace)
	if end := strings.LastIndexByte(kept, ','); end >= 0 && len(s) > maxTrace {
		return kept[:end]
	}
	return kept
}
