package simulator

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// ServerOptions says where and how a Simulator is served.
type ServerOptions struct {
	Addr      string // host:port; default 127.0.0.1:0. An empty host is 127.0.0.1, port 0 any free one
	AdminAddr string // the admin endpoint's own address; empty = under /admin/ of Addr
	AnyPort   bool   // a port that is taken is replaced by a free one

	TLS      bool     // HTTPS with a certificate made in memory, see Server.CAPEM
	Hosts    []string // further names for that certificate
	CertFile string   // HTTPS with a certificate of the caller's, PEM
	KeyFile  string

	ErrorLog *log.Logger // for failed handshakes and the like; nil = dropped
}

// Server is a Simulator that listens.
type Server struct {
	scheme   string
	caPEM    []byte
	api      *listener
	admin    *listener // nil if it shares the API's
	stopCtx  func() bool
	closeAll func()
}

// Start serves the Simulator until Close, or until ctx ends.
func (s *Simulator) Start(ctx context.Context, o ServerOptions) (*Server, error) {
	cert, secured, err := o.certificate()
	if err != nil {
		return nil, fmt.Errorf("start API simulator: %w", err)
	}
	server := &Server{scheme: "http"}
	var tlsConfig *tls.Config
	if secured {
		server.scheme, server.caPEM, tlsConfig = "https", cert.caPEM, serverTLS(cert)
	}
	if err := server.listen(s, &o, tlsConfig); err != nil {
		return nil, fmt.Errorf("start API simulator: %w", err)
	}
	server.closeAll = sync.OnceFunc(server.close)
	server.stopCtx = context.AfterFunc(ctx, server.closeAll)
	return server, nil
}

func (o *ServerOptions) certificate() (cert certificate, secured bool, err error) {
	switch {
	case (o.CertFile == "") != (o.KeyFile == ""):
		return certificate{}, false, errors.New("a certificate needs both its file and its key's")
	case o.CertFile != "":
		cert, err = loadCertificate(o.CertFile, o.KeyFile)
		return cert, true, err
	case o.TLS:
		host, _, _ := net.SplitHostPort(o.Addr) // an address that is wrong fails at listening
		cert, err = makeCertificate(append(o.Hosts, host)...)
		return cert, true, err
	}
	return certificate{}, false, nil
}

// serverTLS lets TLS 1.2 in, because the API answers it: with 426.
func serverTLS(cert certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{cert.tls},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"},
	}
}

func (server *Server) listen(s *Simulator, o *ServerOptions, tlsConfig *tls.Config) error {
	handler := s.Handler()
	if o.AdminAddr != "" {
		handler = s.APIHandler()
		admin, err := newListener(o.AdminAddr, o, s.AdminHandler(), nil)
		if err != nil {
			return fmt.Errorf("admin endpoint: %w", err)
		}
		server.admin = admin
	}
	api, err := newListener(o.Addr, o, handler, tlsConfig)
	if err != nil {
		if server.admin != nil {
			server.admin.close()
		}
		return err
	}
	server.api = api
	return nil
}

// Addr is the host and port that the API listens on.
func (server *Server) Addr() string { return server.api.addr() }

// URL is the API's base URL, without a slash at its end.
func (server *Server) URL() string { return server.scheme + "://" + server.api.addr() }

// AdminURL is the admin endpoint's URL, with a slash at its end.
func (server *Server) AdminURL() string {
	if server.admin == nil {
		return server.URL() + "/admin/"
	}
	return "http://" + server.admin.addr() + "/admin/"
}

// CAPEM is what a client must trust, in PEM: the CA made for this server, or
// the caller's own chain. It is nil without TLS.
func (server *Server) CAPEM() []byte { return server.caPEM }

// Close cuts every connection and returns when all calls have ended, so the
// ledger does not change any more.
func (server *Server) Close() {
	server.stopCtx()
	server.closeAll()
}

func (server *Server) close() {
	server.api.close()
	if server.admin != nil {
		server.admin.close()
	}
}

// listener is one HTTP server on one address.
type listener struct {
	net    net.Listener
	http   *http.Server
	served chan struct{}  // closed when no new connection is taken
	conns  sync.WaitGroup // connections that are being served
}

func newListener(addr string, o *ServerOptions, handler http.Handler, tlsConfig *tls.Config) (*listener, error) {
	socket, err := listen(addr, o.AnyPort)
	if err != nil {
		return nil, err
	}
	l := &listener{net: socket, served: make(chan struct{})}
	l.http = &http.Server{
		Handler:           handler,
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: 10 * time.Second,
		ConnState:         l.track,
		ErrorLog:          cmp.Or(o.ErrorLog, log.New(io.Discard, "", 0)),
		Protocols:         new(http.Protocols),
	}
	// A reset needs a connection of its own, which HTTP/2 does not have.
	l.http.Protocols.SetHTTP1(true)
	go l.serve(tlsConfig != nil)
	return l, nil
}

// listen takes a free port of the same host if the wanted one cannot be had
// and anyPort allows it.
func listen(addr string, anyPort bool) (net.Listener, error) {
	host, port, err := net.SplitHostPort(cmp.Or(addr, "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	host = cmp.Or(host, "127.0.0.1")
	socket, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err == nil || !anyPort {
		return socket, err
	}
	if free, retryErr := net.Listen("tcp", net.JoinHostPort(host, "0")); retryErr == nil {
		return free, nil
	}
	return nil, err
}

func (l *listener) serve(secured bool) {
	defer close(l.served)
	// Serve returns when the server is closed; no other end is of interest.
	if secured {
		_ = l.http.ServeTLS(l.net, "", "")
		return
	}
	_ = l.http.Serve(l.net)
}

func (l *listener) track(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		l.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		l.conns.Done()
	}
}

func (l *listener) addr() string { return l.net.Addr().String() }

func (l *listener) close() {
	_ = l.http.Close()
	<-l.served
	l.conns.Wait()
}
