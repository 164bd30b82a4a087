package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// ConnectFunc opens a connection to the API's host and port in place of TCP. TLS
// comes on top where the URL says https.
type ConnectFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// controlled shows the address to control, which sees it resolved with TCP.
func (connect ConnectFunc) controlled(ctx context.Context, network, addr string, control controlFunc) (net.Conn, error) {
	if control != nil {
		if err := control(network, addr, nil); err != nil {
			return nil, err
		}
	}
	return connect(ctx, network, addr)
}

// connectFunc opens a TCP connection.
type connectFunc func(ctx context.Context, network, addr string, control controlFunc) (net.Conn, error)

// controlFunc sees the resolved address before it is connected to.
type controlFunc func(network, addr string, _ syscall.RawConn) error

func dialTCP(ctx context.Context, network, addr string, control controlFunc) (net.Conn, error) {
	d := net.Dialer{Control: control}
	return d.DialContext(ctx, network, addr)
}

// dialTimeout is how long a dial may take at least. It outlives the attempt
// that asked for it, and serves a later one: with every slot connecting at once
// a handshake may take longer than an attempt, and were it cut, no connection
// would ever stand.
const dialTimeout = 30 * time.Second

// dialer connects to the API's host. net/http detaches a dial from the request
// that asked for it, so it has a deadline of its own.
type dialer struct {
	connect    connectFunc
	roots      *x509.CertPool // nil for the system's
	serverName string
	timeout    time.Duration
}

// deadline says what the attempt says when its time is up: which of the two
// timers fires first must not show where they are the same.
func (d *dialer) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d.timeout, noAnswerError{d.timeout})
}

func (d *dialer) dialPlain(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := d.deadline(ctx)
	defer cancel()
	c, err := d.connect(ctx, network, addr, loopbackOnly)
	if err != nil {
		return nil, cause(ctx, err)
	}
	return &conn{Conn: c}, nil
}

// loopbackOnly holds the promise about http also where the hosts file gives
// localhost another address.
func loopbackOnly(_, addr string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("http to %s: %w", addr, err)
	}
	if !isLoopback(host) {
		return fmt.Errorf("http to %s refused: not a loopback address", host)
	}
	return nil
}

func (d *dialer) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := d.deadline(ctx)
	defer cancel()
	c, err := d.connect(ctx, network, addr, nil)
	if err != nil {
		return nil, cause(ctx, err)
	}
	secure := tls.Client(c, &tls.Config{RootCAs: d.roots, ServerName: d.serverName, MinVersion: tls.VersionTLS13})
	if err := secure.HandshakeContext(ctx); err != nil {
		c.Close()
		return nil, handshakeError(cause(ctx, err))
	}
	return &conn{Conn: secure}, nil
}

// tlsError is a handshake that failed over TLS itself: version, certificate,
// or a peer that does not speak it.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// handshakeError tells a failure of TLS from a connection that broke under it.
func handshakeError(err error) error {
	if isTimeout(err) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	var op *net.OpError
	if errors.As(err, &op) && !isAlert(op) {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	return &tlsError{err}
}

// isAlert tells whether crypto/tls made the error, of an alert sent or received.
func isAlert(op *net.OpError) bool { return op.Op == "remote error" || op.Op == "local error" }

// conn counts the writes begun on it. Only so can we tell whether anything of a
// request may have left: net/http's own hook fires before its buffer is flushed.
// And only so can we tell an answer from what was there before the request:
// net/http keeps what follows an answer in its buffer, and takes it for the next.
type conn struct {
	net.Conn
	writes  atomic.Int64
	heard   atomic.Int64 // writes begun when bytes came last
	refused atomic.Bool  // the attempt that has it was called off
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.heard.Store(c.writes.Load())
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	if c.refused.Load() {
		return 0, errCalledOff
	}
	c.writes.Add(1)
	return c.Conn.Write(b)
}

// loadRoots returns the system's roots and those of file; nil means the
// system's alone. An image without system roots trusts those of file only.
func loadRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the API's CA file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s holds no PEM certificate", file)
	}
	return roots, nil
}
