package records

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// bulky is an answer to a fetch of t/0 whose records make so many steps.
func bulky(steps int) []byte {
	body := responseOf(11, "t", 0, partitionResponse{highWatermark: 8, batches: make([]byte, steps*stepBytes)})
	whole, _ := io.ReadAll(answer(uint32(len(body)+4), correlationID, body))
	return whole
}

// overPipe is a client of a broker that is at the other end of a pipe. ended gets
// what became of the exchange, whether or not anybody waited for it.
func overPipe(broker func(net.Conn)) (c *Client, ended chan error) {
	ended = make(chan error, 1)
	return &Client{Transport: transport(func(ctx context.Context, req kafka.Request) (kafka.Response, error) {
		near, far := net.Pipe()
		go broker(far)
		answered := make(chan kafka.Response, 1)
		go func() {
			defer near.Close()
			x := req.(*exchange)
			x.Required(map[protocol.ApiKey]int16{protocol.Fetch: 11})
			res, err := x.RawExchange(near)
			answered <- res
			ended <- err
		}()
		select {
		case res := <-answered:
			if res == nil {
				return nil, errors.New("no answer")
			}
			return res, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})}, ended
}

// takeRequest reads what the client asks.
func takeRequest(t *testing.T, conn net.Conn) {
	if _, _, _, _, err := protocol.ReadRequest(conn); err != nil {
		t.Error(err)
	}
}

// Fault: the network is so slow that an answer takes two minutes. Promise: it is
// waited for, as long as it moves on.
func TestAnAnswerMayTakeAsLongAsItMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const steps = 13
		c, ended := overPipe(func(conn net.Conn) {
			takeRequest(t, conn)
			for rest := bytes.NewReader(bulky(steps)); rest.Len() > 0; {
				time.Sleep(9 * time.Second)
				io.CopyN(conn, rest, stepBytes) //nolint:errcheck // the fetch will tell
			}
		})
		start := time.Now()
		if _, err := c.Fetch(t.Context(), FetchRequest{Topic: "t"}); err != nil {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		if took := time.Since(start); took < steps*9*time.Second {
			t.Errorf("took only %s", took)
		}
		<-ended
	})
}

// Fault: a broker stops in the middle of an answer. Promise: it is left after the
// patience of one step, and so is its connection.
func TestABrokerThatStopsMidwayIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, ended := overPipe(func(conn net.Conn) {
			takeRequest(t, conn)
			time.Sleep(9 * time.Second)
			conn.Write(bulky(3)[:2*stepBytes]) //nolint:errcheck // the fetch will tell
		})
		start := time.Now()
		_, err := c.Fetch(t.Context(), FetchRequest{Topic: "t"})
		if took := time.Since(start); err == nil || took != 9*time.Second+exchangeSlack {
			t.Errorf("%v after %s, want %s", err, took, 9*time.Second+exchangeSlack)
		}
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 9*time.Second+exchangeSlack {
			t.Errorf("the connection ended with %v after %s", err, time.Since(start))
		}
	})
}

// Promise: an answer that nobody waits for any more is not read to its end.
func TestAnAnswerThatNobodyWaitsForIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c, ended := overPipe(func(conn net.Conn) {
			takeRequest(t, conn)
			whole := bulky(4)
			conn.Write(whole[:2*stepBytes]) //nolint:errcheck // the fetch will tell
			cancel()
			time.Sleep(time.Second)
			conn.Write(whole[2*stepBytes : 3*stepBytes]) //nolint:errcheck // nobody reads it to its end
			conn.Write(whole[3*stepBytes:])              //nolint:errcheck
		})
		if _, err := c.Fetch(ctx, FetchRequest{Topic: "t"}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the exchange ended with %v", err)
		}
		time.Sleep(2 * time.Second) // the other side has said all
	})
}
