package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
)

// Heartbeat asks a group's coordinator whether it knows a member in a generation.
// kafka-go's client cannot be asked: it sends the request to any broker, and reads
// the error of every version but the first from the wrong place, as none.
func Heartbeat(ctx context.Context, client *kafka.Client, group string, generation int32, member string) error {
	m, err := client.Transport.RoundTrip(ctx, client.Addr, &beat{heartbeat.Request{GroupID: group, GenerationID: generation, MemberID: member}})
	if err != nil {
		return err
	}
	res, ok := m.(*heartbeat.Response)
	if !ok {
		return fmt.Errorf("transport answered with a %T", m)
	}
	if res.ErrorCode != 0 {
		return kafka.Error(res.ErrorCode)
	}
	return nil
}

// beat is a heartbeat of the first version, which every broker speaks.
type beat struct{ heartbeat.Request }

// Group implements protocol.GroupMessage: the coordinator is asked.
func (b *beat) Group() string { return b.GroupID }

// Required implements protocol.RawExchanger.
func (*beat) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange implements protocol.RawExchanger.
func (b *beat) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	const version, correlationID = 0, 0x736d7363 // a connection serves one exchange at a time
	if err := protocol.WriteRequest(rw, version, correlationID, "", &b.Request); err != nil {
		return nil, err
	}
	id, res, err := protocol.ReadResponse(rw, protocol.Heartbeat, version)
	if err == nil && id != correlationID {
		err = errors.New("the answer is to another request")
	}
	return res, err
}
