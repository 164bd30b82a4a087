package api

import (
	"bufio"
	"bytes"
	"cmp"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/worker"
)

// countIn reads cancelledCount with another JSON library than the client's, and
// more leniently: what the client takes for a count must be one here too.
func countIn(body []byte) (n int, ok bool) {
	var fields map[string]stdjson.RawMessage
	if stdjson.Unmarshal(body, &fields) != nil {
		return 0, false
	}
	n, err := strconv.Atoi(string(fields["cancelledCount"]))
	return n, err == nil && n >= 0
}

// checkVerdict holds for every verdict on every attempt.
func checkVerdict(t *testing.T, a Attempt, v worker.Verdict) {
	t.Helper()
	switch {
	case v.Retry != (v.Status == ""), v.Retry && v.Err == nil:
		t.Fatalf("neither retry nor end: %+v", v)
	case v.RetryAfter < 0, v.RetryAfter > maxRetryAfter, v.RetryAfter > 0 && !v.Retry:
		t.Fatalf("pause %v: %+v", v.RetryAfter, v)
	case v.NoCall && a.Written:
		t.Fatalf("a call was made: %+v", v)
	case v.Open && !v.Retry: // an answer that ends it closes what was open
		t.Fatalf("final and open: %+v", v)
	case a.Written && (!a.Complete || a.HTTPStatus == 0) && !v.Open:
		t.Fatalf("the request may have taken effect, and no whole answer came: %+v", v)
	}
	switch v.Status {
	case worker.StatusCancelled, worker.StatusNotCancelled:
		n, ok := countIn(a.Body)
		if a.HTTPStatus != 200 || !a.Complete || a.Err != nil || v.Count == nil || !ok || n != *v.Count ||
			(n >= 1) != (v.Status == worker.StatusCancelled) || v.Err != nil {
			t.Fatalf("success of %+v: %+v", a, v)
		}
	case worker.StatusFailed:
		if v.Count != nil || !v.NoCall && (a.HTTPStatus/100 != 4 || !a.Complete || v.Err.Code == nil) {
			t.Fatalf("refusal of %+v: %+v", a, v)
		}
	case "":
		if v.Count != nil {
			t.Fatalf("counted, and to be tried again: %+v", v)
		}
	default:
		t.Fatalf("status %s", v.Status)
	}
}

// FuzzJudge judges whatever came of a call: any status, any body, whole or not.
// Success has an integer count in a complete 200, a final refusal a code in a
// complete 4xx, and what is not whole leaves open what happened.
func FuzzJudge(f *testing.F) {
	for _, body := range []string{aCount, fmt.Sprintf(apiError, 1300), `{"cancelledCount":1,"cancelledCount":2}`, "<html>", "null"} {
		for _, status := range []int{200, 302, 400, 401, 404, 429, 503} {
			f.Add(status, []byte(body), "1")
		}
	}
	f.Fuzz(func(t *testing.T, status int, body []byte, retryAfter string) {
		if len(body) > maxBody {
			return
		}
		whole := answer(status, string(body))
		whole.RetryAfter = retryAfter
		half, unread := whole, whole
		half.Complete, half.Err = false, io.ErrUnexpectedEOF
		unread.Body, unread.Err = nil, errTooLarge
		for _, a := range []Attempt{whole, half, unread, {Err: errors.New(string(body)), Written: status%2 == 0}} {
			checkVerdict(t, a, Judge(a))
		}
	})
}

// FuzzRetryAfter reads any header at any time. A pause is never negative nor
// above a day; digits alone are seconds; one that was rendered is read back.
func FuzzRetryAfter(f *testing.F) {
	f.Fuzz(func(t *testing.T, value string, now int64) {
		at := time.Unix(now%(1<<40), 0)
		d := parseRetryAfter(value, at)
		if d < 0 || d > maxRetryAfter {
			t.Fatalf("%q at %s: %v", value, at, d)
		}
		seconds := min(max(now, 0), 86_400)
		if d := parseRetryAfter(fmt.Sprint(seconds), at); d != time.Duration(seconds)*time.Second {
			t.Fatalf("%d s: %v", seconds, d)
		}
		date := at.UTC().Add(time.Duration(seconds) * time.Second)
		if y := date.Year(); y >= 1 && y <= 9999 {
			if d := parseRetryAfter(date.Format(http.TimeFormat), at); d != time.Duration(seconds)*time.Second {
				t.Fatalf("%s at %s: %v", date, at, d)
			}
		}
	})
}

// FuzzTarget makes the address of any target: either it is refused, or the ids
// stand in it byte for byte, as one segment each, on the host of the base.
func FuzzTarget(f *testing.F) {
	f.Fuzz(func(t *testing.T, sub, id string, batch bool) {
		base, _ := url.Parse("https://sms.8x8.com/p%2Fq")
		u, err := (&Client{base: base}).target(worker.Target{SubAccountID: sub, ID: id, Batch: batch})
		if err != nil {
			if fitsSegment(sub) && fitsSegment(id) {
				t.Fatalf("%q, %q: %v", sub, id, err)
			}
			return
		}
		if !fitsSegment(sub) || !fitsSegment(id) {
			t.Fatalf("%q, %q can leave their segments: %s", sub, id, u)
		}
		path := "/p%2Fq/api/v1/subaccounts/" + sub + "/messages/" + id
		if batch {
			path = "/p%2Fq/api/v1/subaccounts/" + sub + "/messages/batch/" + id
		}
		again, err := url.Parse(u.String())
		if err != nil || u.RequestURI() != path || again.RequestURI() != path || again.Host != base.Host || *base != *again.ResolveReference(base) {
			t.Fatalf("%q, %q: %s, %v", sub, id, u, err)
		}
		if n := strings.Count(path, "/"); n != 7 && !batch || batch && n != 8 {
			t.Fatalf("%q, %q: %d segments in %s", sub, id, n, path)
		}
	})
}

// FuzzAnswer sends any bytes as the answer to a request, over a connection that
// stays or not. Success must stand in what another HTTP parser reads of them,
// time is kept, and the next message gets its own answer or none.
func FuzzAnswer(f *testing.F) {
	for _, c := range endless {
		f.Add([]byte(c.begin+c.repeat+c.repeat), true)
	}
	f.Add([]byte(httpAnswer(200, aCount)), true)
	f.Add([]byte(httpAnswer(404, fmt.Sprintf(apiError, 1300))+httpAnswer(200, aCount)), true)
	f.Add([]byte("HTTP/1.1 204 x\r\n\r\n"+httpAnswer(200, aCount)), true)
	f.Fuzz(func(t *testing.T, answer []byte, stays bool) {
		if len(answer) > 1<<16 {
			return
		}
		synctest.Test(t, func(t *testing.T) { exchangeWith(t, answer, stays) })
	})
}

func exchangeWith(t *testing.T, answer []byte, stays bool) {
	const timeout = 7 * time.Second
	var asked atomic.Int64
	connect := piped(func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			lines, err := readRequest(r)
			switch {
			case err != nil:
				return
			case strings.Contains(lines[0], nextMessage.ID):
				io.WriteString(c, httpAnswer(200, `{"cancelledCount":7}`))
			case asked.Add(1) == 1:
				c.Write(answer)
				if !stays {
					return
				}
			}
		}
	})
	client, err := newClient(Config{BaseURL: "http://127.0.0.1", Keys: literal(t, testKey), AttemptTimeout: timeout}, connect)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	v := client.Cancel(t.Context(), worker.Call{Target: aMessage})
	if took := time.Since(start); took > timeout {
		t.Fatalf("took %v", took)
	}
	if v.Status == worker.StatusCancelled || v.Status == worker.StatusNotCancelled {
		n, ok := successIn(answer)
		if !ok || n != *v.Count || (n >= 1) != (v.Status == worker.StatusCancelled) {
			t.Fatalf("%+v from %q", v, answer)
		}
	}
	for range 3 {
		if next := client.Cancel(t.Context(), worker.Call{Target: nextMessage}); !next.Retry && (next.Count == nil || *next.Count != 7) {
			t.Fatalf("the next message got %+v %+v", next, next.Err)
		}
	}
	client.Close()
	synctest.Wait()
}

// successIn is the count in the first final response that stands in some bytes.
func successIn(answer []byte) (int, bool) {
	r := bufio.NewReader(bytes.NewReader(answer))
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodDelete})
		if err != nil {
			return 0, false
		}
		if resp.StatusCode/100 == 1 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		body, err := io.ReadAll(resp.Body)
		n, ok := countIn(body)
		return n, ok && err == nil && resp.StatusCode == http.StatusOK && len(body) <= maxBody
	}
}

// FuzzKeyDirectory reads a directory that has a file of any name and content
// beside a good one. The good key is always there, nobody gets the other but the
// sub-account that its file is named for, and no message shows a key.
func FuzzKeyDirectory(f *testing.F) {
	f.Fuzz(func(t *testing.T, name string, content []byte, sub string) {
		if name == "" || name == "." || name == ".." || name == "good_sub" || len(name) > 200 || strings.ContainsAny(name, "/\x00") {
			return
		}
		dir := t.TempDir()
		write(t, filepath.Join(dir, "good_sub"), testKey)
		write(t, filepath.Join(dir, name), string(content))
		_, malformed := ParseKey(string(content))
		malformed = cmp.Or(malformed, tooLong(content))
		owner := strings.ReplaceAll(name, "%26", "&")
		if strings.HasPrefix(name, "..") {
			owner, malformed = "", nil
		}
		keys, err := OpenKeys(dir, nil)
		if err != nil {
			text := strings.ReplaceAll(err.Error(), filepath.Join(dir, name), "")
			if malformed == nil || len(content) > 8 && strings.Contains(text, string(content)) {
				t.Fatalf("%q with %q: %v", name, content, err)
			}
			return
		}
		if malformed != nil {
			t.Fatalf("%q with %q was taken", name, content)
		}
		if got := keyOf(t, keys, "good_sub"); got != testKey {
			t.Fatalf("good key %q", got)
		}
		for _, asked := range []string{sub, name, owner, "..", "..data", ".", "", "good_sub/../" + name, dir} {
			_, err := keys.Key(asked)
			if mine := asked == "good_sub" || asked == owner && owner != ""; mine != (err == nil) || err != nil && !errors.Is(err, ErrNoKey) {
				t.Fatalf("%q asks for the key in %q: %v", asked, name, err)
			}
		}
	})
}

func tooLong(content []byte) error {
	if len(content) > maxKeyFile {
		return errors.New("too long")
	}
	return nil
}

// FuzzParseBase reads any API URL: what is accepted is https, or http to
// loopback, with a host and nothing after the path; messages show no password.
func FuzzParseBase(f *testing.F) {
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := parseBase(raw)
		if err != nil {
			if _, after, found := strings.Cut(raw, "://"); found {
				if user, _, found := strings.Cut(after, "@"); found && len(user) > 8 && strings.Contains(err.Error(), user) && !strings.ContainsAny(user, "/?#") {
					t.Fatalf("%q: %v", raw, err)
				}
			}
			return
		}
		if u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(u.Path, "/") ||
			u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) {
			t.Fatalf("%q was taken as %+v", raw, u)
		}
	})
}
