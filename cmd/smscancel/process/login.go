package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
)

// saslVersions are those since Kafka 1.0: a token travels in a request of its
// own, whose answer says what is wrong with it.
var saslVersions = map[protocol.ApiKey]int16{protocol.SaslHandshake: 1, protocol.SaslAuthenticate: 0}

// login authenticates a connection, within a time of its own. kafka-go could do
// it, but waits without an end for a broker that stalls, and reports what that
// or a wrong password led to without a word of either.
func (c Cluster) login(ctx context.Context, conn net.Conn, address string) error {
	conn.SetDeadline(time.Now().Add(loginTimeout)) //nolint:errcheck // the exchange will tell
	defer conn.SetDeadline(time.Time{})            //nolint:errcheck // likewise
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	exchange := protocol.NewConn(conn, "")
	exchange.SetVersions(saslVersions)
	if err := c.authenticate(ctx, exchange); err != nil {
		return fmt.Errorf("SASL with broker %s: %w", address, err)
	}
	return nil
}

func (c Cluster) authenticate(ctx context.Context, exchange *protocol.Conn) error {
	answer, err := exchange.RoundTrip(&saslhandshake.Request{Mechanism: c.SASL.Name()})
	if err != nil {
		return err
	}
	if offer := answer.(*saslhandshake.Response); offer.ErrorCode != 0 {
		return fmt.Errorf("%w: mechanism %s, the broker offers %s", kafka.Error(offer.ErrorCode), c.SASL.Name(), strings.Join(offer.Mechanisms, ", "))
	}
	session, token, err := c.SASL.Start(ctx)
	for done := false; err == nil && !done; {
		var challenge []byte
		if challenge, err = present(exchange, token); err == nil {
			done, token, err = session.Next(ctx, challenge)
		}
	}
	return err
}

// present sends a token and returns what the broker makes of it. Some hang up on
// one that is wrong.
func present(exchange *protocol.Conn, token []byte) ([]byte, error) {
	answer, err := exchange.RoundTrip(&saslauthenticate.Request{AuthBytes: token})
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%w: the broker closed the connection (%w)", kafka.SASLAuthenticationFailed, err)
	}
	if err != nil {
		return nil, err
	}
	verdict := answer.(*saslauthenticate.Response)
	if verdict.ErrorCode != 0 {
		return nil, fmt.Errorf("%w: %s", kafka.Error(verdict.ErrorCode), verdict.ErrorMessage)
	}
	return verdict.AuthBytes, nil
}
