package api

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
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
