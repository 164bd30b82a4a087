package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"smscancel/worker"
)

// hostileTexts are what a request may hold in the place of an id.
var hostileTexts = []string{
	"", ".", "..", "...", "....", ".hidden", "..-", "a..", "-", "~", "~root", "_",
	"/", "//", "a/b", "../..", "../messages/u-2", "a/../b", "/etc/passwd", "..;", "..\\", "a\\b", ";a=b", "a;jsessionid=1",
	"%", "%2", "%2f", "%2F", "a%2fb", "%2e", "%2e%2e", "%2e%2e%2f", "%252e%252e", "%00", "%0d%0a", "%u002e", "&", "a&b", "&&&", "a&b=c", "a&amp;b",
	"?", "a?", "a?b=c", "?batch", "#", "a#b", "@", "a@b", "user:pass@evil.example", ":", "a:443", "http://evil.example/", "//evil.example",
	" ", "  ", " a", "a ", "a b", "a\tb", "\v", "a+b", "a,b", "a*", "a!", "$a", "a'b", `a"b`, "(a)", "[a]", "{a}", "<a>", "a|b", "a^b", "a`b", "a=b",
	"\r", "\n", "a\r\n", "a\nb", "a\rb", "a\r\nX-Injected: 1", " HTTP/1.1\r\nHost: evil.example\r\n\r\n", "a HTTP/1.1", "a\r\n\r\nDELETE /x HTTP/1.1\r\n\r\n",
	"\x00", "a\x00", "a\x00b", "\x01", "\x1b[31m", "\x7f", "\x80", "\xff", "a\xffb", "\xc0\xae\xc0\xae", "\xc0\xaf", "\xe0\x80\xae", "\xed\xa0\x80", "\xf4\x90\x80\x80",
	"\u00e4", "a\u0308", "\u0430cme", "\uff0e\uff0e", "\uff0f", "\uff41\uff42\uff43", "\u2024\u2024", "\u2025", "\u2215", "\u2044", "\u29f8", "\u202eabc", "\u200b", "ab\u200bc",
	"\ufeff", "\ufeffabc", "\u2028", "\u0000", "\U0001f600", "\u0131", "\u017f", "\u212a", "\uff05\uff12\uff45", "\ufffd",
	"batch", "batch/b-1", "CON", "nul", "null", "undefined", "0", "-1", "abc", "ABC", "A-Za-z0-9-._~", "A-Za-z0-9-._&",
}

// long are texts around the limits and far beyond.
func long() (all []string) {
	for _, n := range []int{49, 50, 51, 63, 64, 65, 4096, 65000} {
		all = append(all, strings.Repeat("a", n), strings.Repeat(".", n), strings.Repeat("../", n/3+1), strings.Repeat("\u00e4", n/2))
	}
	return all
}

// requestWith is a request record with hostile ids, as a producer of any
// language would write them: raw bytes and all.
func requestWith(field, id, sub string) *worker.Record {
	quote := func(s string) string {
		if utf8.ValidString(s) {
			b, _ := json.Marshal(s)
			return string(b)
		}
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return &worker.Record{Topic: "t", Value: fmt.Appendf(nil, `{%q:%s,"subAccountId":%s}`, field, quote(id), quote(sub))}
}

// unreserved are the characters that no URL library, proxy or router rewrites.
var unreserved = regexp.MustCompile(`^[A-Za-z0-9\-._~&]+$`)

func fitsSegment(text string) bool {
	return unreserved.MatchString(text) && text != "." && text != ".."
}

// Fault: hostile texts as ids, in every field that goes into the path. Promise:
// a record is rejected with the field named, or its id is exactly one segment of
// the path, byte for byte, in exactly one request.
func TestAHostileIDIsRejectedOrExactlyOneSegment(t *testing.T) {
	seen := make(chan []string, 1)
	url := rawServer(t, func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			lines, err := readRequest(r)
			if err != nil {
				return
			}
			seen <- lines
			io.WriteString(c, httpAnswer(200, `{"cancelledCount":0}`))
		}
	})
	client := newTestClient(t, Config{BaseURL: url})
	called := map[string]int{}
	for _, text := range append(long(), hostileTexts...) {
		for _, c := range []struct{ named, field, id, sub, path string }{
			{"umid", "umid", text, "acme", "/api/v1/subaccounts/acme/messages/" + text},
			{"batchId", "batchId", text, "acme", "/api/v1/subaccounts/acme/messages/batch/" + text},
			{"subAccountId", "umid", "u-1", text, "/api/v1/subaccounts/" + text + "/messages/u-1"},
		} {
			req, err := worker.Parser{}.Parse(requestWith(c.field, c.id, c.sub))
			if err != nil {
				if rejection := err.(*worker.Rejection); rejection.Field != c.named && (rejection.Field != "value" || utf8.ValidString(text)) {
					t.Errorf("%s %.80q: rejected with %.200q", c.named, text, err)
				}
				continue
			}
			called[c.named]++
			check(t, text, client.Cancel(t.Context(), worker.Call{Target: req.Target}), want{status: worker.StatusNotCancelled})
			if line, exact := (<-seen)[0], "DELETE "+c.path+" HTTP/1.1"; line != exact {
				t.Errorf("request line %q, want %q", line, exact)
			}
			if !fitsSegment(text) {
				t.Errorf("%s %q can leave its segment", c.named, text)
			}
		}
	}
	for field, n := range map[string]int{"umid": 29, "batchId": 29, "subAccountId": 19} {
		if called[field] != n {
			t.Errorf("%d texts were good as %s, want %d", called[field], field, n)
		}
	}
}

// Fault: targets that no request could have, because an earlier check is broken.
// Promise: the client itself sends nothing.
func TestTheClientItselfRefusesWhatCouldLeaveItsSegment(t *testing.T) {
	url := rawServer(t, func(c net.Conn) {
		if lines, err := readRequest(bufio.NewReader(c)); err == nil && !strings.HasPrefix(lines[0], "DELETE /api/v1/subaccounts/") {
			t.Errorf("sent %q", lines)
		}
		io.WriteString(c, httpAnswer(200, `{"cancelledCount":0}`))
	})
	client := newTestClient(t, Config{BaseURL: url})
	refused := want{status: worker.StatusFailed, kind: worker.KindInvalidRequest, noCall: true}
	for _, text := range append(long(), hostileTexts...) {
		if fitsSegment(text) {
			continue
		}
		for _, target := range []worker.Target{{SubAccountID: "acme", ID: text}, {SubAccountID: text, ID: "u"}, {SubAccountID: "acme", ID: text, Batch: true}} {
			check(t, text, client.Cancel(t.Context(), worker.Call{Target: target}), refused)
		}
	}
}

// Fault: a trace context with anything in it, line breaks above all. Promise:
// the request has the headers that we set, those only, and each once; a broken
// context is left out and the call made.
func TestATraceContextCannotAddToTheRequest(t *testing.T) {
	seen := make(chan []string, 1)
	url := rawServer(t, func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			lines, err := readRequest(r)
			if err != nil {
				return
			}
			seen <- lines
			io.WriteString(c, httpAnswer(200, `{"cancelledCount":0}`))
		}
	})
	client := newTestClient(t, Config{BaseURL: url})
	for _, text := range append(long(), hostileTexts...) {
		rec := requestWith("umid", "u-1", "acme")
		rec.Headers = []worker.Header{{Key: "traceparent", Value: []byte(text)}, {Key: "tracestate", Value: []byte(text)}}
		req, err := worker.Parser{}.Parse(rec)
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range [][2]string{{req.TraceParent, req.TraceState}, {text, text}} { // as the parser lets it through, and not even so
			v := client.Cancel(t.Context(), worker.Call{Target: req.Target, TraceParent: trace[0], TraceState: trace[1]})
			if check(t, text, v, want{status: worker.StatusNotCancelled}); v.Retry {
				continue
			}
			lines := <-seen
			if lines[0] != "DELETE /api/v1/subaccounts/acme/messages/u-1 HTTP/1.1" || len(lines) > 7 {
				t.Errorf("%.80q: request %.300q", text, lines)
			}
			for _, line := range lines[1:] {
				name, value, _ := strings.Cut(line, ":")
				value = strings.TrimSpace(value)
				switch name {
				case "Host", "User-Agent", "Accept", "Authorization":
				case "Traceparent", "Tracestate":
					if !strings.HasPrefix(strings.TrimSpace(text), value) {
						t.Errorf("%.80q became %q", text, line)
					}
				default:
					t.Errorf("%.80q: header %q", text, line)
				}
			}
		}
	}
}
