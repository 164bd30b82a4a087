package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"smscancel/worker"
)

const apiError = `{"code":%d,"message":"m","errorId":"e","timestamp":"2020-06-18T06:42:57.20Z"}`

// answer is a complete answer.
func answer(status int, body string) Attempt {
	return Attempt{HTTPStatus: status, Body: []byte(body), Complete: true, Written: true, Answered: true}
}

// want is what a verdict must say.
type want struct {
	status worker.Status // empty = retry
	kind   worker.Kind
	open   bool
	hold   bool
	noCall bool // nothing was sent
}

func check(t *testing.T, name string, v worker.Verdict, w want) {
	t.Helper()
	got := want{status: v.Status, open: v.Open, hold: v.Hold, noCall: v.NoCall}
	if v.Err != nil {
		got.kind = v.Err.Kind
	}
	if got != w || v.Retry != (w.status == "") {
		t.Errorf("%s: got %+v retry %v, want %+v", name, got, v.Retry, w)
	}
}

// kinds of a final refusal by the API, by status.
var refusals = map[int]worker.Kind{
	400: worker.KindInvalidRequest, 401: worker.KindUnauthorized, 403: worker.KindForbidden,
	404: worker.KindNotFound, 426: worker.KindUpgradeRequired,
}

// byClass is the specification of a status, with and without the API's body.
func byClass(status int, apiBody bool) want {
	switch {
	case status == 429:
		return want{kind: worker.KindRateLimited}
	case status == 408, status == 425:
		return want{kind: worker.KindClientError}
	case status >= 500 && status <= 599:
		return want{kind: worker.KindServerError, open: status != 501 && status != 503}
	case status >= 400 && status <= 499 && apiBody:
		kind, ok := refusals[status]
		if !ok {
			kind = worker.KindClientError
		}
		return want{status: worker.StatusFailed, kind: kind, hold: status == 401 || status == 426}
	case status >= 300 && status <= 499:
		return want{kind: worker.KindBadResponse}
	}
	return want{kind: worker.KindBadResponse, open: true}
}

func TestEveryStatusHasItsVerdict(t *testing.T) {
	foreign := map[string]string{
		"HTML": "<html>nginx</html>", "empty": "", "null": "null", "array": `[{"code":1000}]`, "string": `"no"`,
		"truncated": `{"code":1000,"mess`, "no code": `{"message":"m"}`, "null code": `{"code":null}`,
		"code as string": `{"code":"1000"}`, "code as float": `{"code":1000.5}`, "code with exponent": `{"code":1e3}`,
		"code in other case": `{"Code":1000}`, "two codes": `{"code":1000,"code":1001}`, "trailing bytes": `{"code":1000}x`,
		"BOM": "\ufeff" + `{"code":1000}`, "huge code": `{"code":99999999999999999999}`, "bad UTF-8": "{\"code\":1,\"message\":\"\xff\"}",
	}
	for status := 100; status <= 999; status++ {
		name := fmt.Sprint(status)
		if status >= 300 {
			check(t, name+" API", Judge(answer(status, fmt.Sprintf(apiError, 1300))), byClass(status, true))
		}
		for how, body := range foreign {
			check(t, name+" "+how, Judge(answer(status, body)), byClass(status, false))
		}
	}
}

func TestAnAnswerThatBrokeOffLeavesOpenWhatItDid(t *testing.T) {
	for status := 100; status <= 599; status++ {
		a := answer(status, "")
		a.Complete, a.Err = false, io.ErrUnexpectedEOF
		w := byClass(status, false)
		w.open = true
		check(t, fmt.Sprint(status), Judge(a), w)

		a.Err = noAnswerError{time.Second}
		if w.kind == worker.KindBadResponse {
			w.kind = worker.KindTimeout
		}
		check(t, fmt.Sprint(status, " in time"), Judge(a), w)
	}
}

func TestOnlyACountIsSuccess(t *testing.T) {
	for body, count := range map[string]int{
		`{"cancelledCount":0}`: 0, `{"cancelledCount":1}`: 1, ` {"x":{"y":[1]},"cancelledCount":10000}` + "\n": 10000,
	} {
		v := Judge(answer(200, body))
		status := worker.StatusCancelled
		if count == 0 {
			status = worker.StatusNotCancelled
		}
		check(t, body, v, want{status: status})
		if v.Count == nil || *v.Count != count {
			t.Errorf("%s: count %v", body, v.Count)
		}
	}
	for _, body := range []string{
		``, ` `, `null`, `1`, `[]`, `[{"cancelledCount":1}]`, `{}`, `{"cancelledCount":null}`, `{"cancelledCount":"1"}`,
		`{"cancelledCount":1.0}`, `{"cancelledCount":1e0}`, `{"cancelledCount":-1}`, `{"cancelledCount":-0}`, `{"cancelledCount":true}`,
		`{"CancelledCount":1}`, `{"cancelledcount":1}`, `{"cancelledCount":1,"cancelledCount":1}`, `{"cancelledCount":1`,
		`{"cancelledCount":1}{}`, `{"cancelledCount":99999999999999999999}`, `{"x":{"a":1,"a":2},"cancelledCount":1}`,
		`<html>{"cancelledCount":1}</html>`,
	} {
		v := Judge(answer(200, body))
		check(t, body, v, want{kind: worker.KindBadResponse, open: true})
		if v.Count != nil {
			t.Errorf("%s: counted", body)
		}
	}
	for _, status := range []int{201, 202, 204, 206, 226} {
		check(t, fmt.Sprint(status), Judge(answer(status, `{"cancelledCount":1}`)), want{kind: worker.KindBadResponse, open: true})
	}
}

func TestDocumentedErrorsAreEchoedAndJudged(t *testing.T) {
	failed := worker.StatusFailed
	for _, c := range []struct {
		status, code int
		want         want
	}{
		{400, 1000, want{status: failed, kind: worker.KindInvalidRequest}},
		{400, 1001, want{status: failed, kind: worker.KindInvalidRequest}},
		{400, 1002, want{status: failed, kind: worker.KindInvalidRequest}},
		{401, 1001, want{status: failed, kind: worker.KindUnauthorized}},
		{401, 1200, want{status: failed, kind: worker.KindUnauthorized, hold: true}},
		{401, 7, want{status: failed, kind: worker.KindUnauthorized, hold: true}},
		{403, 1201, want{status: failed, kind: worker.KindForbidden}},
		{404, 1300, want{status: failed, kind: worker.KindNotFound}},
		{426, 1014, want{status: failed, kind: worker.KindUpgradeRequired, hold: true}},
		{426, 1001, want{status: failed, kind: worker.KindUpgradeRequired, hold: true}},
		{409, 1, want{status: failed, kind: worker.KindClientError}},
		{429, 429, want{kind: worker.KindRateLimited}},
		{500, 2000, want{kind: worker.KindServerError, open: true}},
	} {
		name := fmt.Sprint(c.status, "/", c.code)
		v := Judge(answer(c.status, fmt.Sprintf(apiError, c.code)))
		check(t, name, v, c.want)
		e := v.Err
		if e.Code == nil || *e.Code != c.code || e.Message != "m" || e.ErrorID != "e" ||
			e.Timestamp != "2020-06-18T06:42:57.20Z" || e.HTTPStatus != c.status {
			t.Errorf("%s: echoed %+v", name, e)
		}
	}
}

func TestFieldsOfAnotherTypeDoNotMakeARefusalForeign(t *testing.T) {
	v := Judge(answer(404, `{"code":1300,"message":5,"errorId":null,"timestamp":[]}`))
	check(t, "404", v, want{status: worker.StatusFailed, kind: worker.KindNotFound})
	if v.Err.Message != "" || v.Err.ErrorID != "" || v.Err.Timestamp != "" {
		t.Errorf("echoed %+v", v.Err)
	}
}

func TestFailuresWithoutAnAnswer(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	for name, c := range map[string]struct {
		attempt Attempt
		want    want
	}{
		"refused":          {Attempt{Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, want{kind: worker.KindNetwork}},
		"unknown host":     {Attempt{Err: &net.DNSError{Err: "no such host"}}, want{kind: worker.KindNetwork}},
		"DNS in time":      {Attempt{Err: &net.DNSError{IsTimeout: true}}, want{kind: worker.KindTimeout}},
		"dial in time":     {Attempt{Err: context.DeadlineExceeded}, want{kind: worker.KindTimeout}},
		"reset, written":   {Attempt{Err: reset, Written: true}, want{kind: worker.KindNetwork, open: true}},
		"reset, unwritten": {Attempt{Err: reset}, want{kind: worker.KindNetwork}},
		"hang":             {Attempt{Err: noAnswerError{time.Second}, Written: true}, want{kind: worker.KindTimeout, open: true}},
		"cut off by us":    {Attempt{Err: context.Canceled, Written: true}, want{kind: worker.KindNetwork, open: true}},
		"garbage":          {Attempt{Err: errors.New("malformed"), Written: true, Answered: true}, want{kind: worker.KindBadResponse, open: true}},
		"certificate":      {Attempt{Err: &tlsError{errors.New("x509")}}, want{kind: worker.KindTLS}},
		"late alert":       {Attempt{Err: &net.OpError{Op: "remote error", Err: errors.New("tls: x")}, Written: true}, want{kind: worker.KindTLS, open: true}},
		"status 000":       {Attempt{Complete: true, Written: true, Answered: true}, want{kind: worker.KindBadResponse, open: true}},
		"no key":           {Attempt{Err: fmt.Errorf("%w: s", ErrNoKey)}, want{status: worker.StatusFailed, kind: worker.KindUnauthorized, hold: true, noCall: true}},
		"bad id":           {Attempt{Err: fmt.Errorf("x: %w", errBadID)}, want{status: worker.StatusFailed, kind: worker.KindInvalidRequest, noCall: true}},
	} {
		v := Judge(c.attempt)
		check(t, name, v, c.want)
		if v.Err.HTTPStatus != 0 || v.Err.Message == "" {
			t.Errorf("%s: error %+v", name, v.Err)
		}
	}
}

func TestAnErrorWithoutTheAPIsWordsSaysWhatCame(t *testing.T) {
	for body, message := range map[string]string{
		"": "HTTP 503 Service Unavailable", "null": "HTTP 503 Service Unavailable", "<html>": "HTTP 503 Service Unavailable",
		`{"message":"busy"}`: "busy",
	} {
		if got := Judge(answer(503, body)).Err.Message; got != message {
			t.Errorf("%q: %q, want %q", body, got, message)
		}
	}
}

func TestATooLargeAnswerIsNeverTakenForSuccess(t *testing.T) {
	for _, complete := range []bool{true, false} {
		for status, w := range map[int]want{
			200: {kind: worker.KindBadResponse, open: true},
			404: {kind: worker.KindBadResponse, open: !complete},
			503: {kind: worker.KindServerError, open: !complete},
		} {
			a := Attempt{HTTPStatus: status, Err: errTooLarge, Complete: complete, Written: true}
			check(t, fmt.Sprint(status, complete), Judge(a), w)
		}
	}
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, d := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, " 120 ": 2 * time.Minute, "007": 7 * time.Second,
		"-1": 0, "+5": 0, "1.5": 0, "1e3": 0, "soon": 0, "1, 2": 0,
		"86400": 24 * time.Hour, "86401": 24 * time.Hour, strings.Repeat("9", 400): 24 * time.Hour,
		"Fri, 02 Jan 2026 03:05:05 GMT":    time.Minute,
		"Friday, 02-Jan-26 03:05:05 GMT":   time.Minute,
		"Fri Jan  2 03:05:05 2026":         time.Minute,
		"Fri, 02 Jan 2026 03:04:00 GMT":    0,
		"Fri, 31 Dec 9999 23:59:59 GMT":    24 * time.Hour,
		"Mon, 01 Jan 0001 00:00:00 GMT":    0,
		"Fri, 32 Jan 2026 03:05:05 GMT":    0,
		"Fri, 02 Jan 2026 03:05:05 +02:00": 0,
	} {
		if got := parseRetryAfter(value, now); got != d {
			t.Errorf("%q: %v, want %v", value, got, d)
		}
	}
	for status, d := range map[int]time.Duration{429: time.Second, 503: time.Second, 500: time.Second, 408: time.Second, 200: 0, 302: 0, 404: 0} {
		a := answer(status, fmt.Sprintf(apiError, 1))
		a.RetryAfter, a.At = "1", now
		if got := Judge(a).RetryAfter; got != d {
			t.Errorf("%d: %v, want %v", status, got, d)
		}
	}
}
