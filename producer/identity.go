package producer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

// newProducerID gets a producer id without a transactional id. kafka-go's client
// cannot: it asks for the coordinator of the empty one.
func newProducerID(ctx context.Context, client *kafka.Client) (pid int64, epoch int16, err error) {
	res, err := ask[*initproducerid.Response](ctx, client, &initproducerid.Request{
		TransactionTimeoutMs: int32(transactionTimeout.Milliseconds()), ProducerID: -1, ProducerEpoch: -1,
	})
	if err == nil && res.ErrorCode != 0 {
		err = kafka.Error(res.ErrorCode)
	}
	if err != nil {
		return -1, -1, fmt.Errorf("InitProducerId: %w", err)
	}
	return res.ProducerID, res.ProducerEpoch, nil
}

// Permissions are what a user may do with a topic.
type Permissions struct {
	Known       bool // some brokers do not say
	Read, Write bool
}

// PermissionsOn asks a broker what it lets this user do with a topic. kafka-go's
// client cannot: its transport answers from what it knows.
func PermissionsOn(ctx context.Context, client *kafka.Client, topic string) (Permissions, error) {
	res, err := ask[*metadata.Response](ctx, client, &metadata.Request{TopicNames: []string{topic}, IncludeTopicAuthorizedOperations: true})
	if err != nil {
		return Permissions{}, fmt.Errorf("ask for the permissions on topic %s: %w", topic, err)
	}
	if len(res.Topics) == 0 {
		return Permissions{}, fmt.Errorf("topic %s: %w", topic, kafka.UnknownTopicOrPartition)
	}
	t := res.Topics[0]
	if t.ErrorCode != 0 {
		return Permissions{}, fmt.Errorf("topic %s: %w", topic, kafka.Error(t.ErrorCode))
	}
	may := func(operation kafka.ACLOperationType) bool { return t.TopicAuthorizedOperations&(1<<operation) != 0 }
	known := t.TopicAuthorizedOperations > 0 // none at all would not show the topic; negative is "not said"
	return Permissions{known, may(kafka.ACLOperationTypeRead), may(kafka.ACLOperationTypeWrite)}, nil
}

// ask sends a request to any broker as it stands.
func ask[Response protocol.Message](ctx context.Context, client *kafka.Client, req protocol.Message) (Response, error) {
	var none Response
	m, err := client.Transport.RoundTrip(ctx, client.Addr, &question{request: req})
	if err != nil {
		return none, err
	}
	if a, ok := m.(*answer); ok {
		if res, ok := a.Message.(Response); ok {
			return res, nil
		}
	}
	return none, fmt.Errorf("transport answered with a %T", m)
}

// question is a request that any broker answers.
type question struct {
	request protocol.Message
	version int16
}

// ApiKey implements protocol.Message.
func (q *question) ApiKey() protocol.ApiKey { return q.request.ApiKey() }

// Required implements protocol.RawExchanger.
func (q *question) Required(versions map[protocol.ApiKey]int16) bool {
	q.version = versions[q.ApiKey()]
	return true
}

// RawExchange implements protocol.RawExchanger.
func (q *question) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	const correlationID = 0x736d7363 // a connection serves one exchange at a time
	if err := protocol.WriteRequest(rw, q.version, correlationID, "", q.request); err != nil {
		return nil, err
	}
	id, res, err := protocol.ReadResponse(rw, q.ApiKey(), q.version)
	if err == nil && id != correlationID {
		err = errors.New("the answer is to another request")
	}
	return &answer{res}, err
}

// answer hides an answer from kafka-go's transport, which makes something of
// those to its own requests.
type answer struct{ protocol.Message }
