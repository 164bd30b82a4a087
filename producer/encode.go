package producer

import (
	"fmt"

	"github.com/segmentio/kafka-go/protocol"

	"smscancel/worker"
)

// shrinkable is an outcome that can give up parts of itself when the topic's
// max.message.bytes is too small for it.
type shrinkable struct{ *worker.Outcome }

// shrink drops the largest part that the outcome can do without: the rejected
// record's value, then the metadata. It reports whether there was one.
func (s *shrinkable) shrink() bool {
	smaller := *s.Outcome
	switch {
	case smaller.Source.Value != nil:
		smaller.Source.Value, smaller.Source.Truncated = nil, true
	case smaller.Metadata != nil:
		smaller.Metadata = nil
	default:
		return false
	}
	s.Outcome = &smaller
	return true
}

// encode renders p's outcome as the record that goes into the ledger.
func (w *Writer) encode(p *pending) error {
	value, headers, err := p.outcome.Encode()
	if err != nil {
		return fmt.Errorf("encode outcome %s: %w", p.outcome.OutcomeID, err)
	}
	headers = append(headers, worker.Header{Key: entryHeader, Value: encodeEntry(w.ledger.Partitions, w.source, p.outcome.Outcome)})
	p.key, p.value, p.headers = p.outcome.Key, value, make([]protocol.Header, len(headers))
	p.size = len(p.key) + len(p.value) + 32
	for i, h := range headers {
		p.headers[i] = protocol.Header{Key: h.Key, Value: h.Value}
		p.size += len(h.Key) + len(h.Value) + 8
	}
	return nil
}
