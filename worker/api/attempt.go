package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"smscancel/worker"
)

const (
	maxBody  = 64 << 10  // of an answer that we read
	maxDrain = 256 << 10 // of what is beyond, to see its end and keep the connection
)

var (
	errTooLarge = errors.New("body is larger than 64 KiB")
	errUnasked  = errors.New("bytes on the connection that no request asked for")
)

// Attempt is what happened in one call, before anybody judges it.
type Attempt struct {
	HTTPStatus int       // 0 when no answer came
	RetryAfter string    // the header as it stands
	Body       []byte    // at most 64 KiB
	Complete   bool      // the answer was received to its end
	Err        error     // what kept us from the answer or the rest of it
	Written    bool      // something of the request may have reached the API
	Answered   bool      // the first byte of an answer came
	At         time.Time // when it ended
}

// attempt makes one DELETE and nothing else: no redirect (RoundTrip follows
// none), no cookies, no repetition. The transport repeats a DELETE by itself
// only when a kept connection was dead before a byte was written, which is
// part of the same attempt.
func (c *Client) attempt(ctx context.Context, call worker.Call, key Key) Attempt {
	u, err := c.target(call.Target)
	if err != nil {
		return Attempt{Err: err, At: time.Now()}
	}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	timeout := time.AfterFunc(c.timeout, func() { end(noAnswerError{c.timeout}) }) // cheaper than a second context
	defer timeout.Stop()
	w := wire{permission: permission{ctx: ctx, call: call, cancel: end}}
	defer w.watch()()
	req := &http.Request{Method: http.MethodDelete, URL: u, Host: u.Host, Header: c.header(key, call.TraceParent, call.TraceState)}
	resp, err := c.transport.RoundTrip(req.WithContext(httptrace.WithClientTrace(ctx, w.trace())))
	if w.state.Load() == calledOff {
		return Attempt{Err: errCalledOff, At: time.Now()} // be it that its time is up, too
	}
	if w.unasked.Load() {
		if err == nil {
			resp.Body.Close()
		}
		err = errUnasked
	}
	if err != nil {
		return Attempt{Err: cause(ctx, err), Written: w.written(), Answered: w.answered.Load(), At: time.Now()}
	}
	a := Attempt{HTTPStatus: resp.StatusCode, RetryAfter: resp.Header.Get("Retry-After"), Written: true, Answered: true}
	a.read(ctx, resp)
	a.At = time.Now()
	return a
}

// header never holds Idempotency-Key: net/http would repeat the call on its own.
func (c *Client) header(key Key, traceParent, traceState string) http.Header {
	h := http.Header{
		"Authorization": {"Bearer " + key.reveal()},
		"Accept":        {"application/json"},
		"User-Agent":    {c.userAgent},
	}
	if traceParent != "" && isHeaderValue(traceParent) {
		h["Traceparent"] = []string{traceParent}
		if traceState != "" && isHeaderValue(traceState) {
			h["Tracestate"] = []string{traceState}
		}
	}
	return h
}

// isHeaderValue keeps a broken trace context from failing the call.
func isHeaderValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// read takes the body within its bound. The connection can be used again only
// if the body was read to its end.
func (a *Attempt) read(ctx context.Context, resp *http.Response) {
	defer resp.Body.Close()
	if resp.StatusCode < http.StatusOK {
		return // 101: what follows is another protocol, not a body
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		a.Err = cause(ctx, err)
		return
	}
	if len(body) <= maxBody {
		a.Body, a.Complete = body, true
		return
	}
	a.Err = errTooLarge
	n, err := io.CopyN(io.Discard, resp.Body, maxDrain)
	a.Complete = n < maxDrain && errors.Is(err, io.EOF)
}

// wire follows the connection of an attempt. Its hooks run on goroutines of
// the transport, also after the attempt has ended.
type wire struct {
	permission
	conn     atomic.Pointer[conn]
	before   atomic.Int64 // writes on conn before this attempt
	answered atomic.Bool
	unasked  atomic.Bool // what came first was there before this attempt
}

func (w *wire) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn:              w.getConn,
		GotConn:              w.gotConn,
		GotFirstResponseByte: w.firstByte,
	}
}

// getConn comes again when the transport leaves a dead connection for another.
func (w *wire) getConn(string) {
	w.conn.Store(nil)
	w.answered.Store(false)
	w.unasked.Store(false)
	w.waitAgain()
}

func (w *wire) gotConn(info httptrace.GotConnInfo) {
	if c, ok := info.Conn.(*conn); ok {
		w.before.Store(c.writes.Load())
		w.conn.Store(c)
		if !w.granted() {
			c.refused.Store(true) // net/http would write to it all the same, and this connection is lost
		}
	}
}

// firstByte refuses an answer that begins with bytes from before the request:
// the rest of an earlier answer, which is about another message. net/http closes
// an idle connection with such bytes, but not one that a waiting request takes.
func (w *wire) firstByte() {
	w.answered.Store(true)
	if c := w.conn.Load(); c != nil && c.heard.Load() <= w.before.Load() {
		w.unasked.Store(true)
		c.Close()
	}
}

// written is exact once RoundTrip has failed: it waits for the write loop.
func (w *wire) written() bool {
	c := w.conn.Load()
	return c != nil && c.writes.Load() > w.before.Load()
}

// noAnswerError is the end of an attempt's time.
type noAnswerError struct{ after time.Duration }

func (e noAnswerError) Error() string { return fmt.Sprintf("no answer within %v", e.after) }
func (noAnswerError) Timeout() bool   { return true }

// Is makes it a context.DeadlineExceeded.
func (noAnswerError) Is(target error) bool { return target == context.DeadlineExceeded }

// cause prefers why the attempt was ended to what broke when it was.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
