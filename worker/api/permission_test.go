package api

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/worker"
)

// lateClient is a client whose connections take 8 s to stand. heard counts the
// requests that the API saw, dials the connections.
func lateClient(t *testing.T) (client *Client, heard, dials *atomic.Int32) {
	t.Helper()
	heard, dials = new(atomic.Int32), new(atomic.Int32)
	answering := piped(func(c net.Conn) {
		if _, err := readRequest(bufio.NewReader(c)); err == nil {
			heard.Add(1)
			io.WriteString(c, httpAnswer(200, `{"cancelledCount":1}`))
		}
	})
	late := func(ctx context.Context, network, addr string, control controlFunc) (net.Conn, error) {
		dials.Add(1)
		if err := worker.Sleep(ctx, 8*time.Second); err != nil {
			return nil, err
		}
		return answering(ctx, network, addr, control)
	}
	client, err := newClient(Config{BaseURL: "http://127.0.0.1", Keys: literal(t, testKey), Concurrency: 1}, late)
	if err != nil {
		t.Fatal(err)
	}
	return client, heard, dials
}

func mustBeCalledOff(t *testing.T, v worker.Verdict) {
	t.Helper()
	if !v.NoCall || !v.Retry || v.Open || v.Err != nil || v.Hold {
		t.Errorf("%+v", v)
	}
}

// Fault: a connection takes 8 s, and after 3 s nobody wants the call any more.
// Promise: the attempt ends at once and leaves no trace, the API never hears of it,
// and the connection serves the next call.
func TestAnUnwantedCallEndsWhileItsConnectionIsStillToCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, heard, dials := lateClient(t)
		defer client.Close()
		start := time.Now()
		wanted, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		mustBeCalledOff(t, client.Cancel(t.Context(), worker.Call{Target: aMessage, Wanted: wanted}))
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("it ended after %v", took)
		}
		check(t, "next", client.Cancel(t.Context(), worker.Call{Target: nextMessage}), want{status: worker.StatusCancelled})
		if time.Since(start) != 8*time.Second || heard.Load() != 1 || dials.Load() != 1 {
			t.Errorf("after %v, %d requests on %d connections", time.Since(start), heard.Load(), dials.Load())
		}
	})
}

// Fault: what forbids the call shows only when its connection stands. Promise: as
// above, but for the connection.
func TestACallIsLookedAtWhenItsConnectionStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, heard, _ := lateClient(t)
		defer client.Close()
		start := time.Now()
		asked := time.Duration(0)
		v := client.Cancel(t.Context(), worker.Call{Target: aMessage, Confirm: func(context.Context) bool { asked = time.Since(start); return false }})
		mustBeCalledOff(t, v)
		if synctest.Wait(); asked != 8*time.Second || heard.Load() != 0 {
			t.Errorf("asked after %v, %d requests", asked, heard.Load())
		}
		v = client.Cancel(t.Context(), worker.Call{Target: aMessage, Confirm: func(context.Context) bool { return true }})
		check(t, "confirmed", v, want{status: worker.StatusCancelled})
	})
}

// Promise: what is asked on a connection that stands ends with the wish for the call,
// and with the attempt's time.
func TestAConfirmationEndsWithItsAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, heard, _ := lateClient(t)
		defer client.Close()
		waits := func(ctx context.Context) bool { <-ctx.Done(); return false }
		start := time.Now()
		wanted, cancel := context.WithTimeout(t.Context(), 9*time.Second)
		defer cancel()
		mustBeCalledOff(t, client.Cancel(t.Context(), worker.Call{Target: aMessage, Wanted: wanted, Confirm: waits}))
		if took := time.Since(start); took != 9*time.Second {
			t.Errorf("it ended after %v", took)
		}
		start = time.Now()
		mustBeCalledOff(t, client.Cancel(t.Context(), worker.Call{Target: aMessage, Confirm: waits}))
		if took := time.Since(start); took != 10*time.Second || heard.Load() != 0 {
			t.Errorf("it ended after %v, with %d requests", took, heard.Load())
		}
	})
}

// Promise: a call on the wire is not cut by a change of mind; its answer counts.
func TestACallOnTheWireIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := inMemory(func(c net.Conn) {
			<-time.After(5 * time.Second)
			io.WriteString(c, httpAnswer(200, `{"cancelledCount":1}`))
		})
		client, err := newClient(Config{BaseURL: "http://127.0.0.1", Keys: literal(t, testKey)}, slow)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		wanted, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		check(t, "in hand", client.Cancel(t.Context(), worker.Call{Target: aMessage, Wanted: wanted}), want{status: worker.StatusCancelled})
	})
}

// A kept connection turns out to be dead after the wish for the call has ended: no
// other connection is waited for.
func TestACallThatNeedsAnotherConnectionIsLookedAtAgain(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	wanted, end := context.WithCancel(t.Context())
	p := permission{ctx: ctx, call: worker.Call{Wanted: wanted}, cancel: cancel}
	defer p.watch()()
	if p.waitAgain(); ctx.Err() != nil || !p.granted() {
		t.Fatal("called off while it was wanted")
	}
	end()
	if ctx.Err() != nil {
		t.Error("cut on the wire")
	}
	if p.waitAgain(); context.Cause(ctx) != errCalledOff || p.granted() {
		t.Errorf("%v", context.Cause(ctx))
	}
}

// net/http writes a request also when its context ends on the way to the connection:
// what keeps it from the wire is the connection.
func TestAConnectionTakesNothingOfACallThatWasCalledOff(t *testing.T) {
	for _, confirmed := range []bool{true, false} {
		near, far := net.Pipe()
		defer near.Close()
		go io.Copy(io.Discard, far) //nolint:errcheck // it ends with the pipe
		c := &conn{Conn: near}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		w := wire{permission: permission{ctx: ctx, cancel: cancel, call: worker.Call{Confirm: func(context.Context) bool { return confirmed }}}}
		w.gotConn(httptrace.GotConnInfo{Conn: c})
		if n, err := c.Write([]byte("DELETE")); (err == nil) != confirmed || (n > 0) != confirmed || w.written() != confirmed || (ctx.Err() == nil) != confirmed {
			t.Errorf("confirmed %t: wrote %d, %v, written: %t", confirmed, n, err, w.written())
		}
	}
}
