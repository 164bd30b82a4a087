package simulator

import (
	"net"
	"net/http"
	"time"
)

// delay holds the call up. It ends early when the client leaves, but the call
// goes on: the API does not notice either.
func (x *exchange) delay(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-x.r.Context().Done():
	case <-x.closed:
	}
}

// left tells that the client did not wait for the answer.
func (x *exchange) left() bool { return x.r.Context().Err() != nil }

// silence ends a call without an answer: by a reset, or only when the client
// leaves or the server is closed.
func (x *exchange) silence(a *Answer) {
	if a.Reset != "" {
		x.world.ledger.end(x.call, reply{}, a.Name(), x.left())
		resetConnection(x.w)
		return
	}
	select {
	case <-x.r.Context().Done():
	case <-x.closed:
	}
	x.world.ledger.end(x.call, reply{}, a.Name(), x.left())
	panic(http.ErrAbortHandler) // net/http's way to drop a connection
}

// resetConnection closes the TCP connection with RST instead of FIN, and
// without the TLS alert that would make it an orderly end.
func resetConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // no connection of its own to reset: drop it
	}
	if secured, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = secured.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // fails only on a connection that is gone
	}
	_ = conn.Close()
}
