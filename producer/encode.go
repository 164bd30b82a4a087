package producer

import (
	"fmt"

	"github.com/segmentio/kafka-go/protocol"
)

// encode renders p's outcome as the record that goes into the ledger.
func (w *Writer) encode(p *pending) error {
	value, headers, err := p.outcome.Encode()
	if err != nil {
		return fmt.Errorf("encode outcome %s: %w", p.outcome.OutcomeID, err)
	}
	p.key, p.value = p.outcome.Key, value
	p.headers = make([]protocol.Header, 1, 1+len(headers))
	p.headers[0] = protocol.Header{Key: entryHeader, Value: encodeEntry(w.ledger.Partitions, w.source, p.outcome)} // where a replay finds it at once
	for _, h := range headers {
		p.headers = append(p.headers, protocol.Header{Key: h.Key, Value: h.Value})
	}
	p.size = len(p.key) + len(p.value) + recordOverhead
	for _, h := range p.headers {
		p.size += len(h.Key) + len(h.Value) + headerOverhead
	}
	return nil
}
