package process

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
)

// fakeBroker accepts connections, and answers what is asked unless it hangs.
func fakeBroker(t *testing.T, hangs bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			if hangs {
				continue
			}
			go func() {
				version, correlation, _, _, err := protocol.ReadRequest(conn)
				if err == nil {
					err = protocol.WriteResponse(conn, version, correlation, &apiversions.Response{})
				}
				_ = err // the client notices
			}()
		}
	}()
	return l.Addr().String()
}

// refusing is an address on which nobody listens.
func refusing(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Fault: of four brokers one hangs and two refuse connections, whatever their
// order in the list. Promise: 16 of 16 connections, of the client and of the
// member, lead to the one that answers.
func TestAHungBrokerIsLeftForOneThatAnswers(t *testing.T) {
	alive := fakeBroker(t, false)
	c := Cluster{Brokers: []string{fakeBroker(t, true), refusing(t), alive, refusing(t)}}
	for range 8 {
		for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){"client": c.dial, "member": c.dialMember} {
			conn, err := dial(t.Context(), "tcp", anyBroker)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			conn.Close()
			if got := conn.RemoteAddr().String(); got != alive {
				t.Errorf("%s is connected to %s, want %s", name, got, alive)
			}
		}
	}
}

func TestAMemberDoesNotConnectToACoordinatorThatHangs(t *testing.T) {
	hung := fakeBroker(t, true)
	c := Cluster{Brokers: []string{hung}}
	ctx, cancel := context.WithTimeout(t.Context(), headStart)
	defer cancel()
	if conn, err := c.dialMember(ctx, "tcp", hung); err == nil {
		conn.Close()
		t.Error("connected to a broker that does not answer")
	}
}

func TestWhyNoBrokerAnswersIsSaid(t *testing.T) {
	c := Cluster{Brokers: []string{refusing(t), refusing(t)}}
	_, err := c.dial(t.Context(), "tcp", anyBroker)
	var op *net.OpError
	if !errors.As(err, &op) {
		t.Errorf("%v does not say what the network said", err)
	}
}
