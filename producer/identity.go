package producer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
)

// newProducerID gets a producer id without a transactional id. kafka-go's client
// cannot: it asks for the coordinator of the empty one.
func newProducerID(ctx context.Context, client *kafka.Client) (pid int64, epoch int16, err error) {
	m, err := client.Transport.RoundTrip(ctx, client.Addr, &identityRequest{})
	if err != nil {
		return -1, -1, fmt.Errorf("InitProducerId: %w", err)
	}
	res, ok := m.(*initproducerid.Response)
	if !ok {
		return -1, -1, fmt.Errorf("InitProducerId: transport answered with a %T", m)
	}
	if res.ErrorCode != 0 {
		return -1, -1, fmt.Errorf("InitProducerId: %w", kafka.Error(res.ErrorCode))
	}
	return res.ProducerID, res.ProducerEpoch, nil
}

// identityRequest is an InitProducerId request that any broker answers.
type identityRequest struct{ version int16 }

// ApiKey implements protocol.Message.
func (*identityRequest) ApiKey() protocol.ApiKey { return protocol.InitProducerId }

// Required implements protocol.RawExchanger.
func (r *identityRequest) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = versions[protocol.InitProducerId]
	return true
}

// RawExchange implements protocol.RawExchanger.
func (r *identityRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	const correlationID = 0x736d7363 // a connection serves one exchange at a time
	req := &initproducerid.Request{TransactionTimeoutMs: int32(transactionTimeout.Milliseconds()), ProducerID: -1, ProducerEpoch: -1}
	if err := protocol.WriteRequest(rw, r.version, correlationID, "", req); err != nil {
		return nil, err
	}
	id, res, err := protocol.ReadResponse(rw, protocol.InitProducerId, r.version)
	if err == nil && id != correlationID {
		err = errors.New("the answer is to another request")
	}
	return res, err
}
