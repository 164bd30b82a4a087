package status

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
)

func TestTheSameTroubleReadsTheSameAtEveryTry(t *testing.T) {
	broken := func(port int) error {
		here, there := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9092}
		return fmt.Errorf("read offsets: %w", &net.OpError{Op: "read", Net: "tcp", Source: here, Addr: there, Err: errors.New("i/o timeout")})
	}
	const want = "read offsets: read tcp 127.0.0.1:9092: i/o timeout"
	for _, port := range []int{40001, 40002} {
		if got := Reason(broken(port)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := Reason(io.EOF); got != "EOF" {
		t.Errorf("EOF reads %q", got)
	}
}
