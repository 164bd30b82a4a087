package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/worker"
)

const aCount = `{"cancelledCount":1}`

// gzipped is a body as it would come if we had asked for compression.
func gzipped(t *testing.T, body []byte) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// badAnswer is what a server sends in answer to one request.
type badAnswer struct {
	answer string
	hangUp bool // the server closes the connection behind it
	want   want
}

func badAnswers(t *testing.T) map[string]badAnswer {
	open := want{kind: worker.KindBadResponse, open: true}
	closed := want{kind: worker.KindBadResponse}
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	head := "HTTP/1.1 200 OK\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(aCount))
	encoded := func(body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	return map[string]badAnswer{
		"length too short":            {head + "Content-Length: 10\r\n\r\n" + aCount, false, open},
		"length too long":             {head + "Content-Length: 21\r\n\r\n" + aCount, true, open},
		"length of 0":                 {head + "Content-Length: 0\r\n\r\n" + aCount, false, open},
		"length negative":             {head + "Content-Length: -1\r\n\r\n" + aCount, true, open},
		"length with a sign":          {head + "Content-Length: +20\r\n\r\n" + aCount, true, open},
		"length in hex":               {head + "Content-Length: 0x14\r\n\r\n" + aCount, true, open},
		"length beyond all numbers":   {head + "Content-Length: 99999999999999999999\r\n\r\n" + aCount, true, open},
		"two lengths":                 {head + length + "Content-Length: 21\r\n\r\n" + aCount, true, open},
		"another transfer coding":     {head + "Transfer-Encoding: gzip, chunked\r\n\r\n" + aCount, true, open},
		"chunk size no number":        {chunked + "zz\r\n" + aCount + "\r\n0\r\n\r\n", true, open},
		"chunk size negative":         {chunked + "-14\r\n" + aCount + "\r\n0\r\n\r\n", true, open},
		"chunk size of 17 digits":     {chunked + "10000000000000014\r\n" + aCount + "\r\n0\r\n\r\n", true, open},
		"chunk without its end":       {chunked + "14\r\n" + aCount + "0\r\n\r\n", true, open},
		"last chunk missing":          {chunked + "14\r\n" + aCount + "\r\n", true, open},
		"chunk longer than said":      {chunked + "2\r\n" + aCount + "\r\n0\r\n\r\n", true, open},
		"201":                         {httpAnswer(201, aCount), false, open},
		"202":                         {httpAnswer(202, aCount), false, open},
		"203":                         {httpAnswer(203, aCount), false, open},
		"204":                         {"HTTP/1.1 204 No Content\r\n\r\n", false, open},
		"204 with a body":             {"HTTP/1.1 204 No Content\r\n" + length + "\r\n" + aCount, false, open},
		"205":                         {httpAnswer(205, aCount), false, open},
		"206":                         {"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-19/20\r\n" + length + "\r\n" + aCount, false, open},
		"304":                         {"HTTP/1.1 304 Not Modified\r\n\r\n", false, closed},
		"304 with a body":             {"HTTP/1.1 304 Not Modified\r\n\r\n" + aCount, false, closed},
		"gzip":                        {encoded(gzipped(t, []byte(aCount))), false, open},
		"gzip bomb":                   {encoded(gzipped(t, make([]byte, 32<<20))), false, open},
		"HTTP/2":                      {"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 18), true, open},
		"HTTP/0.9":                    {aCount, true, open},
		"status of two digits":        {"HTTP/1.1 20 OK\r\n" + length + "\r\n" + aCount, true, open},
		"status of four digits":       {"HTTP/1.1 2000 OK\r\n" + length + "\r\n" + aCount, true, open},
		"status signed":               {"HTTP/1.1 +20 OK\r\n" + length + "\r\n" + aCount, true, open},
		"header without a colon":      {head + "Content-Length 20\r\n\r\n" + aCount, true, open},
		"header value with a NUL":     {head + "X: a\x00b\r\n" + length + "\r\n" + aCount, true, open},
		"NULs instead of a header":    {strings.Repeat("\x00", 5000), true, open},
		"many empty lines":            {strings.Repeat("\r\n", 5000), true, open},
		"header of 64 KiB in lines":   {head + strings.Repeat("X: y\r\n", maxHeaderBytes/6) + length + "\r\n" + aCount, true, open},
		"deep JSON":                   {httpAnswer(200, `{"x":`+strings.Repeat("[", 30_000)+strings.Repeat("]", 30_000)+`,"cancelledCount":1}`), false, open},
		"deep JSON that never closes": {httpAnswer(200, strings.Repeat(`{"a":`, 12_000)), false, open},
		"a name twice, once escaped":  {httpAnswer(200, `{"cancelledCount":1,"cancelled\u0043ount":0}`), false, open},
		"a BOM":                       {httpAnswer(200, "\ufeff"+aCount), false, open},
		"a second body":               {httpAnswer(200, aCount+aCount), false, open},
		"a NUL behind":                {httpAnswer(200, aCount+"\x00"), false, open},
		"NaN":                         {httpAnswer(200, `{"cancelledCount":NaN}`), false, open},
		"a number of 60,000 digits":   {httpAnswer(200, `{"cancelledCount":`+strings.Repeat("9", 60_000)+`}`), false, open},
		"a lone surrogate":            {httpAnswer(200, `{"x":"\ud800","cancelledCount":1}`), false, open},
		"full-width digits":           {httpAnswer(200, `{"cancelledCount":`+"\uff11"+`}`), false, open},
		"UTF-16":                      {httpAnswer(200, "\xff\xfe{\x00}\x00"), false, open},
		"404 beyond 64 KiB of JSON":   {httpAnswer(404, `{"code":1300,"message":"`+strings.Repeat("x", maxBody)+`"}`), false, closed},
	}
}

// Fault: a server answers against the rules of HTTP or of the API. Promise: it
// is never taken for success, no memory to speak of is spent on it, and the next
// message gets its own answer.
func TestABadAnswerIsNeverTakenForSuccessNorForAnotherMessages(t *testing.T) {
	for name, c := range badAnswers(t) {
		t.Run(name, func(t *testing.T) {
			url := rawServer(t, func(conn net.Conn) {
				for r := bufio.NewReader(conn); ; {
					lines, err := readRequest(r)
					if err != nil {
						return
					}
					if strings.Contains(lines[0], nextMessage.ID) {
						io.WriteString(conn, httpAnswer(200, `{"cancelledCount":7}`))
						continue
					}
					io.WriteString(conn, c.answer)
					if c.hangUp {
						return
					}
				}
			})
			client := newTestClient(t, Config{BaseURL: url})
			var spent uint64
			for range 5 {
				spent = allocated(func() { check(t, name, client.Cancel(t.Context(), worker.Call{Target: aMessage}), c.want) })
				next := client.Cancel(t.Context(), worker.Call{Target: nextMessage})
				for next.Retry { // on a connection that was spoilt
					next = client.Cancel(t.Context(), worker.Call{Target: nextMessage})
				}
				if next.Count == nil || *next.Count != 7 {
					t.Fatalf("the next message got %+v", next)
				}
			}
			if spent > 4<<20 {
				t.Errorf("%d bytes allocated", spent)
			}
		})
	}
}

// allocated is how many bytes f allocates, and whatever runs beside it.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// endless are answers that never come to their end: what begins them, and what
// is repeated as fast as the client takes it.
var endless = map[string]struct{ begin, repeat string }{
	"status line":           {"HTTP/1.1 200 ", "O"},
	"header":                {"HTTP/1.1 200 OK\r\nX: ", "y"},
	"headers":               {"HTTP/1.1 200 OK\r\n", "X: y\r\n"},
	"folded header":         {"HTTP/1.1 200 OK\r\nX: y\r\n", " z\r\n"},
	"100":                   {"", "HTTP/1.1 100 Continue\r\n\r\n"},
	"103 with a header":     {"", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"},
	"body to the end":       {"HTTP/1.1 200 OK\r\n\r\n" + aCount, " "},
	"body with a length":    {"HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\n" + aCount, " "},
	"chunks":                {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n" + aCount + "\r\n", "1\r\n \r\n"},
	"chunk":                 {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n" + aCount, " "},
	"chunk size":            {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0"},
	"chunk extension":       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14;", "x"},
	"chunks with extension": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n" + aCount + "\r\n", "1;" + strings.Repeat("x", 1000) + "\r\n \r\n"},
	"trailers":              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n" + aCount + "\r\n0\r\n", "X: y\r\n"},
	"gzip":                  {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "\x00\x00\x00\xff\xff"},
	"404":                   {"HTTP/1.1 404 Not Found\r\n\r\n", " "},
	"no HTTP":               {"", "x"},
}

// Fault: an answer without an end, as fast as it is taken. Promise: the attempt
// ends by itself, long before its time is up, and memory stays bounded.
func TestAnEndlessAnswerIsGivenUp(t *testing.T) {
	for name, c := range endless {
		t.Run(name, func(t *testing.T) {
			url := rawServer(t, func(conn net.Conn) {
				readRequest(bufio.NewReader(conn))
				io.WriteString(conn, c.begin)
				piece := bytes.Repeat([]byte(c.repeat), 4096/len(c.repeat)+1)
				for err := error(nil); err == nil; {
					_, err = conn.Write(piece)
				}
			})
			client := newTestClient(t, Config{BaseURL: url})
			spent := allocated(func() {
				check(t, name, client.Cancel(t.Context(), worker.Call{Target: aMessage}), want{kind: worker.KindBadResponse, open: true})
			})
			if spent > 4<<20 {
				t.Errorf("%d bytes allocated", spent)
			}
		})
	}
}

// dripping sends what begins an answer at once, and then a few bytes a second
// of what is repeated, as often as said.
func dripping(begin, repeat string, bytesEach, times int) func(net.Conn) {
	return func(c net.Conn) {
		io.WriteString(c, begin)
		for rest := strings.Repeat(repeat, times); rest != ""; {
			n := min(bytesEach, len(rest))
			if _, err := io.WriteString(c, rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
			time.Sleep(time.Second)
		}
	}
}

// verdictOn makes one attempt, in virtual time, against a server in memory.
func verdictOn(t *testing.T, serve func(net.Conn), timeout time.Duration) (v worker.Verdict, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, err := newClient(Config{BaseURL: "http://127.0.0.1", Keys: literal(t, testKey), AttemptTimeout: timeout}, inMemory(serve))
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		v = client.Cancel(t.Context(), worker.Call{Target: aMessage})
		took = time.Since(start)
		client.Close()
		time.Sleep(time.Minute) // until the server has noticed
	})
	return v, took
}

// Fault: an answer without an end drips: a byte, or a whole piece, each second.
// Promise: the attempt ends when its time is up, whatever keeps coming.
func TestADrippingAnswerEndsWithTheAttempt(t *testing.T) {
	for name, c := range endless {
		for _, bytesEach := range []int{1, len(c.repeat)} {
			v, took := verdictOn(t, dripping(c.begin, c.repeat, bytesEach, 100), 9*time.Second)
			check(t, name, v, want{kind: worker.KindTimeout, open: true})
			if took != 9*time.Second {
				t.Errorf("%s: ended after %v, want 9s", name, took)
			}
		}
	}
}

// Fault: a complete answer comes at a byte a second. Promise: it counts if it is
// whole in time; if not, it is a time-out that leaves open what happened.
func TestASlowAnswerCountsOnlyIfItIsWholeInTime(t *testing.T) {
	whole := httpAnswer(200, aCount)
	inTime := time.Duration(len(whole)) * time.Second
	v, _ := verdictOn(t, dripping("", whole, 1, 1), inTime)
	check(t, "in time", v, want{status: worker.StatusCancelled})
	v, _ = verdictOn(t, dripping("", whole, 1, 1), inTime-time.Second-1)
	check(t, "a byte short", v, want{kind: worker.KindTimeout, open: true})
}

// Fault: redirects of every kind to another host, which would see the key.
// Promise: that host hears nothing at all.
func TestAnotherHostNeverHearsOfACall(t *testing.T) {
	var heard atomic.Int64
	other := rawServer(t, func(net.Conn) { heard.Add(1) })
	elsewhere := strings.Replace(other, "127.0.0.1", "127.0.0.2", 1)
	for _, status := range []int{300, 301, 302, 303, 304, 305, 306, 307, 308, 399} {
		for _, location := range []string{other, elsewhere, strings.TrimPrefix(other, "http:"), "/moved", "https://" + strings.TrimPrefix(other, "http://")} {
			answer := fmt.Sprintf("HTTP/1.1 %d x\r\nLocation: %s\r\nContent-Location: %s\r\nRefresh: 0; url=%s\r\nAlt-Svc: h2=%q\r\nContent-Length: 0\r\n\r\n",
				status, location, location, location, strings.TrimPrefix(other, "http://"))
			client := newTestClient(t, Config{BaseURL: rawServer(t, respond(answer))})
			check(t, fmt.Sprint(status, location), client.Cancel(context.Background(), worker.Call{Target: aMessage}), want{kind: worker.KindBadResponse})
			client.Close()
		}
	}
	if n := heard.Load(); n != 0 {
		t.Errorf("the other host saw %d connections", n)
	}
}
