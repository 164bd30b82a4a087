package consumer

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// memberDialer is the group's dialer for a member that leaves only when it is told
// to. kafka-go leaves the group after every error, such as a coordinator that
// is being moved: the others would be given partitions on which this member is
// at work.
func memberDialer(d *kafka.Dialer, leaving *atomic.Bool) *kafka.Dialer {
	member := *d
	dial := d.DialFunc
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	member.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &memberConn{Conn: conn, leaving: leaving}, nil
	}
	return &member
}

// memberConn refuses to send LeaveGroup while its member does not want to leave.
type memberConn struct {
	net.Conn
	leaving *atomic.Bool
}

func (c *memberConn) Write(b []byte) (int, error) {
	if isLeaveGroup(b) && !c.leaving.Load() {
		return 0, errStays
	}
	return c.Conn.Write(b)
}

var errStays = errors.New("this member does not leave the group")

// isLeaveGroup recognizes a whole request by its first fields: size, API key.
func isLeaveGroup(request []byte) bool {
	return len(request) >= 6 && int(binary.BigEndian.Uint32(request))+4 == len(request) &&
		protocol.ApiKey(binary.BigEndian.Uint16(request[4:])) == protocol.LeaveGroup
}
