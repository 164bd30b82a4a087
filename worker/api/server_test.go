package api

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func literal(t *testing.T, key string) Keys {
	t.Helper()
	keys, err := LiteralKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func newTestClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	if cfg.Keys == nil {
		cfg.Keys = literal(t, testKey)
	}
	if cfg.AttemptTimeout == 0 {
		cfg.AttemptTimeout = time.Hour // no test depends on how fast the machine is
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// rawServer answers each connection by hand and returns its URL.
func rawServer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); serve(c) }()
		}
	}()
	return "http://" + l.Addr().String()
}

// readRequest returns the lines of one request without a body.
func readRequest(r *bufio.Reader) ([]string, error) {
	var lines []string
	for {
		line, err := r.ReadString('\n')
		if err != nil || line == "\r\n" {
			return lines, err
		}
		lines = append(lines, strings.TrimSpace(line))
	}
}

// respond answers every request of a connection with the same bytes.
func respond(answer string) func(net.Conn) {
	return func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			if _, err := readRequest(r); err != nil {
				return
			}
			io.WriteString(c, answer)
		}
	}
}

func httpAnswer(status int, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}
