package api

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/worker"
)

func TestADialSaysTheSameAsItsAttemptWhenTimeIsUp(t *testing.T) {
	never := func(ctx context.Context, _, _ string, _ controlFunc) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for name, c := range map[string]struct {
		connect connectFunc
		dial    func(*dialer, context.Context, string, string) (net.Conn, error)
	}{
		"plain":         {never, (*dialer).dialPlain},
		"TLS":           {never, (*dialer).dialTLS},
		"TLS handshake": {inMemory(func(net.Conn) {}), (*dialer).dialTLS},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &dialer{connect: c.connect, serverName: "127.0.0.1", timeout: 7 * time.Second}
				start := time.Now()
				_, err := c.dial(d, t.Context(), "tcp", "127.0.0.1:1")
				if !errors.Is(err, noAnswerError{7 * time.Second}) || time.Since(start) != 7*time.Second {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
			})
		})
	}
}

// Fault: connections take longer to stand than an attempt may last. Promise:
// the dial of an attempt that gave up serves the next ones, so that calls get
// through at all.
func TestAConnectionThatStandsTooLateServesALaterAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		answering := inMemory(func(c net.Conn) { io.WriteString(c, "HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n") })
		slow := func(ctx context.Context, network, addr string, control controlFunc) (net.Conn, error) {
			dials++
			if err := worker.Sleep(ctx, 5*time.Second); err != nil {
				return nil, err
			}
			return answering(ctx, network, addr, control)
		}
		client, err := newClient(Config{BaseURL: "http://127.0.0.1", Keys: literal(t, testKey), AttemptTimeout: 2 * time.Second, Concurrency: 1}, slow)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		attempts := 1
		for client.Cancel(t.Context(), worker.Call{Target: aMessage}).Err.Kind == worker.KindTimeout && attempts < 10 {
			attempts++
		}
		if attempts != 3 || dials != 1 {
			t.Errorf("%d attempts of 2 s and %d dials of 5 s until an answer, want 3 and 1", attempts, dials)
		}
	})
}

func TestHTTPLeavesLoopbackNeither(t *testing.T) {
	for addr, ok := range map[string]bool{"127.0.0.1:80": true, "[::1]:80": true, "10.0.0.1:80": false, "93.184.216.34:80": false, "bad": false} {
		d := &dialer{timeout: time.Hour, connect: func(_ context.Context, network, addr string, control controlFunc) (net.Conn, error) {
			if err := control(network, addr, nil); err != nil { // as net.Dialer does with the resolved address
				return nil, err
			}
			return nil, nil
		}}
		if _, err := d.dialPlain(t.Context(), "tcp", addr); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
}
