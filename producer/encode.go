package producer

import (
	"fmt"

	"github.com/segmentio/kafka-go/protocol"

	"smscancel/worker"
)

// encode renders p's outcome as the record that goes into the ledger.
func (w *Writer) encode(p *pending) error {
	value, headers, err := p.outcome.Encode()
	if err != nil {
		return fmt.Errorf("encode outcome %s: %w", p.outcome.OutcomeID, err)
	}
	headers = append(headers, worker.Header{Key: entryHeader, Value: encodeEntry(w.ledger.Partitions, w.source, p.outcome)})
	p.key, p.value, p.headers = p.outcome.Key, value, make([]protocol.Header, len(headers))
	p.size = len(p.key) + len(p.value) + 32
	for i, h := range headers {
		p.headers[i] = protocol.Header{Key: h.Key, Value: h.Value}
		p.size += len(h.Key) + len(h.Value) + 8
	}
	return nil
}
