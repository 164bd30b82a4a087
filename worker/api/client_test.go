package api

import (
	"bufio"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/worker"
)

const testKey = "sk-test-0123456789"

var aMessage = worker.Target{SubAccountID: "acme", ID: "fbb239f1-2eb1-ea11-afa9-00155db6eaf4"}

func TestRequestLineAndHeadersAreWhatTheAPIExpects(t *testing.T) {
	seen := make(chan []string, 1)
	url := rawServer(t, func(c net.Conn) {
		lines, _ := readRequest(bufio.NewReader(c))
		seen <- lines
		io.WriteString(c, httpAnswer(200, `{"cancelledCount":1}`))
	})
	for _, c := range []struct {
		base   string
		target worker.Target
		path   string
	}{
		{url, aMessage, "/api/v1/subaccounts/acme/messages/fbb239f1-2eb1-ea11-afa9-00155db6eaf4"},
		{url + "/", worker.Target{SubAccountID: "a&b", ID: "A.b~c_d-1"}, "/api/v1/subaccounts/a&b/messages/A.b~c_d-1"},
		{url, worker.Target{SubAccountID: "...", ID: "..."}, "/api/v1/subaccounts/.../messages/..."},
		{url + "/p%2Fq/", worker.Target{SubAccountID: "acme", ID: "b1", Batch: true}, "/p%2Fq/api/v1/subaccounts/acme/messages/batch/b1"},
	} {
		client := newTestClient(t, Config{BaseURL: c.base, UserAgent: "smscancel/1.2"})
		v := client.Cancel(t.Context(), worker.Call{Target: c.target, TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TraceState: "vendor=x"})
		if v.Status != worker.StatusCancelled || v.Count == nil || *v.Count != 1 {
			t.Errorf("%s: verdict %+v", c.path, v)
		}
		lines := <-seen
		if want := "DELETE " + c.path + " HTTP/1.1"; lines[0] != want {
			t.Errorf("request line %q, want %q", lines[0], want)
		}
		head := strings.ToLower(strings.Join(lines[1:], "\n"))
		for _, want := range []string{"authorization: bearer " + testKey, "accept: application/json", "user-agent: smscancel/1.2",
			"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: vendor=x"} {
			if !strings.Contains(head, want) {
				t.Errorf("no %q in\n%s", want, head)
			}
		}
		if strings.Contains(head, "idempotency-key") || strings.Contains(head, "accept-encoding") || strings.Contains(head, "cookie") {
			t.Errorf("unwanted header in\n%s", head)
		}
	}
}

func TestAnswersThatAreBrokenOnTheWire(t *testing.T) {
	huge := strings.Repeat(" ", maxBody)
	for name, c := range map[string]struct {
		answer string
		want   want
	}{
		"not HTTP":            {"SSH-2.0-OpenSSH\r\n\r\n", want{kind: worker.KindBadResponse, open: true}},
		"header breaks off":   {"HTTP/1.1 200 OK\r\nConte", want{kind: worker.KindBadResponse, open: true}},
		"body breaks off":     {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + `{"cancelledCount":1}`, want{kind: worker.KindBadResponse, open: true}},
		"404 breaks off":      {"HTTP/1.1 404 x\r\nContent-Length: 99\r\n\r\n" + `{"code":1300}`, want{kind: worker.KindBadResponse, open: true}},
		"503 breaks off":      {"HTTP/1.1 503 x\r\nContent-Length: 99\r\n\r\n", want{kind: worker.KindServerError, open: true}},
		"huge header":         {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHeaderBytes) + "\r\n\r\n", want{kind: worker.KindBadResponse, open: true}},
		"body of 64 KiB":      {httpAnswer(200, `{"cancelledCount":1}`+huge[20:]), want{status: worker.StatusCancelled}},
		"body over 64 KiB":    {httpAnswer(200, `{"cancelledCount":1}`+huge), want{kind: worker.KindBadResponse, open: true}},
		"404 over 64 KiB":     {httpAnswer(404, `{"code":1300}`+huge), want{kind: worker.KindBadResponse}},
		"404 beyond draining": {httpAnswer(404, strings.Repeat(huge, 8)), want{kind: worker.KindBadResponse, open: true}},
		"101":                 {"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", want{kind: worker.KindBadResponse, open: true}},
		"early hints first":   {"HTTP/1.1 103 x\r\n\r\n" + httpAnswer(200, `{"cancelledCount":1}`), want{status: worker.StatusCancelled}},
		"gzip unasked":        {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", want{kind: worker.KindBadResponse, open: true}},
	} {
		t.Run(name, func(t *testing.T) {
			url := rawServer(t, func(conn net.Conn) {
				readRequest(bufio.NewReader(conn))
				io.WriteString(conn, c.answer)
			})
			check(t, name, newTestClient(t, Config{BaseURL: url}).Cancel(t.Context(), worker.Call{Target: aMessage}), c.want)
		})
	}
}

func TestAConnectionThatNeverStoodIsClosed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there now
	v := newTestClient(t, Config{BaseURL: "http://" + l.Addr().String()}).Cancel(t.Context(), worker.Call{Target: aMessage})
	check(t, "refused", v, want{kind: worker.KindNetwork})

	url := rawServer(t, func(net.Conn) {}) // hangs up before the handshake
	v = newTestClient(t, Config{BaseURL: strings.Replace(url, "http", "https", 1)}).Cancel(t.Context(), worker.Call{Target: aMessage})
	check(t, "no handshake", v, want{kind: worker.KindNetwork})
}

func TestAConnectionLostAfterTheRequestIsOpen(t *testing.T) {
	for name, linger := range map[string]int{"closed": -1, "reset": 0} {
		url := rawServer(t, func(c net.Conn) {
			readRequest(bufio.NewReader(c))
			c.(*net.TCPConn).SetLinger(linger)
		})
		v := newTestClient(t, Config{BaseURL: url}).Cancel(t.Context(), worker.Call{Target: aMessage})
		check(t, name, v, want{kind: worker.KindNetwork, open: true})
	}
}

func TestALostCallOnAKeptConnectionIsNotRepeated(t *testing.T) {
	var calls atomic.Int64
	url := rawServer(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		readRequest(r)
		calls.Add(1)
		io.WriteString(c, httpAnswer(200, `{"cancelledCount":1}`))
		if _, err := readRequest(r); err == nil {
			calls.Add(1) // read in full, and the connection goes without an answer
		}
	})
	client := newTestClient(t, Config{BaseURL: url})
	check(t, "first", client.Cancel(t.Context(), worker.Call{Target: aMessage}), want{status: worker.StatusCancelled})
	check(t, "second", client.Cancel(t.Context(), worker.Call{Target: aMessage}), want{kind: worker.KindNetwork, open: true})
	if n := calls.Load(); n != 2 {
		t.Errorf("the API saw %d calls, want 2", n)
	}
}

func TestConnectionsAreKeptForTheNextCall(t *testing.T) {
	var conns atomic.Int64
	answer := respond(httpAnswer(404, strings.Repeat("x", maxBody+1)))
	url := rawServer(t, func(c net.Conn) { conns.Add(1); answer(c) })
	client := newTestClient(t, Config{BaseURL: url})
	for range 20 {
		client.Cancel(t.Context(), worker.Call{Target: aMessage})
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for 20 calls in a row, want 1", n)
	}
}

// TestAnAttemptEndsInTime runs on virtual time, over a connection in memory.
func TestAnAttemptEndsInTime(t *testing.T) {
	stall := func(net.Conn) {}
	for name, c := range map[string]struct {
		connect connectFunc
		want    want
	}{
		"no connection": {func(ctx context.Context, _, _ string, _ controlFunc) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, want{kind: worker.KindTimeout}},
		"no handshake": {inMemory(stall), want{kind: worker.KindTimeout}},
		"no answer":    {inMemory(stall), want{kind: worker.KindTimeout, open: true}},
		"half a body": {inMemory(func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{") }),
			want{kind: worker.KindTimeout, open: true}},
	} {
		t.Run(name, func(t *testing.T) {
			base := "http://127.0.0.1"
			if name == "no handshake" {
				base = "https://127.0.0.1"
			}
			synctest.Test(t, func(t *testing.T) {
				client, err := newClient(Config{BaseURL: base, Keys: literal(t, testKey), AttemptTimeout: 7 * time.Second}, c.connect)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				v := client.Cancel(t.Context(), worker.Call{Target: aMessage})
				check(t, name, v, c.want)
				if d := time.Since(start); d != 7*time.Second {
					t.Errorf("ended after %v, want 7s", d)
				}
				if !strings.Contains(v.Err.Message, "no answer within 7s") {
					t.Errorf("message %q", v.Err.Message)
				}
				client.Close()
				synctest.Wait()
			})
		})
	}
}

// inMemory connects to a server that reads one request, does then, and keeps
// the connection until the client hangs up.
func inMemory(then func(net.Conn)) connectFunc {
	return piped(func(c net.Conn) {
		r := bufio.NewReader(c)
		readRequest(r)
		then(c)
		io.Copy(io.Discard, r)
	})
}

// piped connects to a server in memory.
func piped(serve func(net.Conn)) connectFunc {
	return func(context.Context, string, string, controlFunc) (net.Conn, error) {
		client, server := net.Pipe()
		go func() { defer server.Close(); serve(server) }()
		return client, nil
	}
}

func TestAProtocolSwitchIsNotReadUntilTheTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		connect := inMemory(func(c net.Conn) { io.WriteString(c, "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n") })
		client, err := newClient(Config{BaseURL: "http://127.0.0.1", Keys: literal(t, testKey)}, connect)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		check(t, "101", client.Cancel(t.Context(), worker.Call{Target: aMessage}), want{kind: worker.KindBadResponse, open: true})
		if d := time.Since(start); d != 0 {
			t.Errorf("took %v", d)
		}
		client.Close()
		synctest.Wait()
	})
}

// deadConn takes what is written until it is dead, and then not a byte.
type deadConn struct {
	net.Conn
	dead atomic.Bool
}

func (c *deadConn) Write(b []byte) (int, error) {
	if c.dead.Load() {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(b)
}

// TestAKeptConnectionFoundDeadLeavesNothingOpen: the transport dials anew
// because not a byte was written, and that connection never stands.
func TestAKeptConnectionFoundDeadLeavesNothingOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept *deadConn
		dials := 0
		serve := inMemory(func(c net.Conn) { io.WriteString(c, httpAnswer(200, `{"cancelledCount":1}`)) })
		connect := func(ctx context.Context, network, addr string, control controlFunc) (net.Conn, error) {
			if dials++; dials > 1 {
				return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
			}
			c, err := serve(ctx, network, addr, control)
			kept = &deadConn{Conn: c}
			return kept, err
		}
		client, err := newClient(Config{BaseURL: "http://127.0.0.1", Keys: literal(t, testKey)}, connect)
		if err != nil {
			t.Fatal(err)
		}
		check(t, "first", client.Cancel(t.Context(), worker.Call{Target: aMessage}), want{status: worker.StatusCancelled})
		synctest.Wait() // the connection is idle
		kept.dead.Store(true)
		check(t, "second", client.Cancel(t.Context(), worker.Call{Target: aMessage}), want{kind: worker.KindNetwork})
		if dials != 2 {
			t.Errorf("%d dials, want 2", dials)
		}
		client.Close()
		synctest.Wait()
	})
}

// TestNoProxyIsUsed looks inside: proxies from the environment never apply to
// loopback, so no call in a test would show one.
func TestNoProxyIsUsed(t *testing.T) {
	if c := newTestClient(t, Config{BaseURL: "https://sms.8x8.com"}); c.transport.Proxy != nil {
		t.Error("calls may go through a proxy")
	}
}

func TestACallThatIsCutOffSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		client, err := newClient(Config{BaseURL: "http://127.0.0.1", Keys: literal(t, testKey)}, inMemory(func(net.Conn) { cancel() }))
		if err != nil {
			t.Fatal(err)
		}
		check(t, "cut off", client.Cancel(ctx, worker.Call{Target: aMessage}), want{kind: worker.KindNetwork, open: true})
		client.Close()
		synctest.Wait()
	})
}

func TestHTTPSSpeaksHTTP1WithWhoeverTheCAFileVouchesFor(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			t.Errorf("spoke %s", r.Proto)
		}
		io.WriteString(w, `{"cancelledCount":1}`)
	}))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	check(t, "vouched for", newTestClient(t, Config{BaseURL: s.URL, CAFile: ca}).Cancel(t.Context(), worker.Call{Target: aMessage}), want{status: worker.StatusCancelled})
	check(t, "by nobody", newTestClient(t, Config{BaseURL: s.URL}).Cancel(t.Context(), worker.Call{Target: aMessage}), want{kind: worker.KindTLS})
}

func TestAMissingKeyIsABadKeyWithoutACall(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "other"), testKey)
	keys, err := OpenKeys(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	url := rawServer(t, func(net.Conn) { calls.Add(1) })
	v := newTestClient(t, Config{BaseURL: url, Keys: keys}).Cancel(t.Context(), worker.Call{Target: aMessage})
	check(t, "no key", v, want{status: worker.StatusFailed, kind: worker.KindUnauthorized, hold: true, noCall: true})
	if calls.Load() != 0 || v.Err.HTTPStatus != 0 {
		t.Errorf("%d calls, error %+v", calls.Load(), v.Err)
	}
}

func TestTheKeyIsTakenOutOfWhatTheServerEchoes(t *testing.T) {
	for _, answer := range []string{
		httpAnswer(403, fmt.Sprintf(`{"code":1201,"message":"Bearer %s denied","errorId":"%s","timestamp":"%s"}`, testKey, testKey, testKey)),
		httpAnswer(500, fmt.Sprintf(`{"message":"%s"}`, testKey)),
		"Bearer " + testKey + "\r\n\r\n",
	} {
		v := newTestClient(t, Config{BaseURL: rawServer(t, respond(answer))}).Cancel(t.Context(), worker.Call{Target: aMessage})
		if text := fmt.Sprintf("%+v", *v.Err); strings.Contains(text, testKey) || !strings.Contains(text, redacted) {
			t.Errorf("error %s", text)
		}
	}
}

func TestNewRefusesAnUnsafeConfiguration(t *testing.T) {
	keys := literal(t, testKey)
	for url, word := range map[string]string{
		"": "host", "sms.8x8.com": "host", "https://": "host", "127.0.0.1:80": "parsed", "https://%zz": "parsed", "ftp://h": "scheme",
		"http://sms.8x8.com": "loopback", "http://10.0.0.1": "loopback", "http://127.0.0.1.example.com": "loopback", "http://0.0.0.0": "loopback",
		"https://user:hunter2@h": "user", "https://h/?a=b": "query", "https://h/#x": "fragment", "https:h": "host",
	} {
		_, err := New(Config{BaseURL: url, Keys: keys})
		if err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: error %v, want one about %s", url, err, word)
		}
	}
	for _, url := range []string{"http://localhost:1", "http://127.0.0.9", "http://[::1]:80", "https://sms.8x8.com", "https://h/base/"} {
		if _, err := New(Config{BaseURL: url, Keys: keys}); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
	empty := filepath.Join(t.TempDir(), "ca.pem")
	write(t, empty, "no certificate")
	_, err := New(Config{BaseURL: "ftp://h", CAFile: empty})
	for _, word := range []string{"scheme", "PEM", "keys"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v does not tell of %s", err, word)
		}
	}
	if _, err := New(Config{BaseURL: "https://h", Keys: keys, CAFile: empty + ".missing"}); err == nil {
		t.Error("missing CA file accepted")
	}
}

func BenchmarkCancel(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"cancelledCount":1}`) })}
	go s.Serve(l)
	defer s.Close()
	keys, _ := LiteralKey(testKey)
	c, err := New(Config{BaseURL: "http://" + l.Addr().String(), Keys: keys})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if v := c.Cancel(context.Background(), worker.Call{Target: aMessage}); v.Status != worker.StatusCancelled {
				b.Errorf("%+v", v)
			}
		}
	})
}
