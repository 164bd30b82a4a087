// Package api calls 8x8's cancel-SMS API: one attempt per call, and a pure
// verdict on what came back. It never repeats a call; whether and when to try
// again is for package worker, its only caller besides the check command.
package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/trace"

	"smscancel/worker"
)

const (
	defaultAttemptTimeout = 10 * time.Second
	defaultConcurrency    = 1024
	defaultUserAgent      = "smscancel"

	// An idle connection that the server closes while we write to it costs an
	// ambiguous attempt, so we drop it before load balancers usually do (60 s).
	idleTimeout = 30 * time.Second

	maxHeaderBytes = 64 << 10 // of an answer
)

// Config is what New needs. BaseURL and Keys are required.
type Config struct {
	BaseURL        string        // scheme and host, e.g. https://sms.8x8.com; http only to loopback
	Keys           Keys          // the key of each sub-account
	CAFile         string        // PEM file of roots trusted besides the system's; empty for none
	AttemptTimeout time.Duration // of one attempt, connecting included; 0 = 10 s
	UserAgent      string        // empty = smscancel
	Concurrency    int           // calls at once, and so connections kept; 0 = 1024
	Connect        ConnectFunc   // how to reach the API; nil = TCP
	Tracer         trace.Tracer  // a span of each attempt; nil = none
}

// Client makes calls to one API host. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	keys      Keys
	timeout   time.Duration
	userAgent string
	transport *http.Transport
	tracer    trace.Tracer
}

var _ worker.Caller = (*Client)(nil)

// New checks the configuration and returns a client. All mistakes are reported
// together.
func New(cfg Config) (*Client, error) {
	if cfg.Connect != nil {
		return newClient(cfg, cfg.Connect.controlled)
	}
	return newClient(cfg, dialTCP)
}

func newClient(cfg Config, connect connectFunc) (*Client, error) {
	base, urlErr := parseBase(cfg.BaseURL)
	roots, caErr := loadRoots(cfg.CAFile)
	var keysErr error
	if cfg.Keys == nil {
		keysErr = errors.New("no source of API keys")
	}
	if err := errors.Join(urlErr, caErr, keysErr); err != nil {
		return nil, err
	}
	timeout := cmp.Or(cfg.AttemptTimeout, defaultAttemptTimeout)
	d := &dialer{connect: connect, roots: roots, serverName: base.Hostname(), timeout: max(timeout, dialTimeout)}
	return &Client{
		base:      base,
		keys:      cfg.Keys,
		timeout:   timeout,
		userAgent: cmp.Or(cfg.UserAgent, defaultUserAgent),
		transport: newTransport(d, cmp.Or(cfg.Concurrency, defaultConcurrency)),
		tracer:    cfg.Tracer,
	}, nil
}

// newTransport sets every default of net/http that would be unsafe or slow here.
func newTransport(d *dialer, concurrency int) *http.Transport {
	var http1 http.Protocols
	http1.SetHTTP1(true) // HTTP/2 repeats refused streams inside the transport, unseen by us
	return &http.Transport{
		Protocols:              &http1,
		Proxy:                  nil, // the host never changes
		DialContext:            d.dialPlain,
		DialTLSContext:         d.dialTLS,
		MaxConnsPerHost:        concurrency,
		MaxIdleConns:           concurrency,
		MaxIdleConnsPerHost:    concurrency, // the default of 2 redials almost every call under load
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // answers are tiny, and nothing must inflate
	}
}

// Cancel makes one attempt and judges it. It implements worker.Caller.
func (c *Client) Cancel(ctx context.Context, call worker.Call) worker.Verdict {
	key, err := c.keys.Key(call.Target.SubAccountID)
	if err != nil {
		return Judge(Attempt{Err: err})
	}
	span := c.span(ctx, &call)
	attempt := c.attempt(ctx, call, key)
	verdict := Judge(attempt)
	key.scrub(verdict.Err)
	endSpan(span, attempt, verdict)
	return verdict
}

// Close drops idle connections. Calls in flight go on.
func (c *Client) Close() { c.transport.CloseIdleConnections() }
