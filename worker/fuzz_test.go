package worker

import (
	"errors"
	"regexp"
	"testing"
	"time"
	"unicode/utf8"
)

// checkParsed parses a record and checks what must hold for any bytes at all.
func checkParsed(t *testing.T, rec *Record) {
	t.Helper()
	req, err := Parser{DefaultSubAccount: "default_sub"}.Parse(rec)
	var o *Outcome
	if err == nil {
		checkAccepted(t, req)
		o = NewOutcome(rec, req, "cluster")
		o.Status, o.Error = StatusFailed, &Error{Kind: KindNetwork, Message: string(rec.Value)}
	} else {
		var rejection *Rejection
		if !errors.As(err, &rejection) || rejection.Field == "" || rejection.Reason == "" || req != nil {
			t.Fatalf("got %+v and %v", req, err)
		}
		o = RejectedOutcome(rec, rejection, "cluster")
	}
	o.CompletedAt = FormatTime(recordTime)
	checkOutcome(t, o)
}

var (
	pathID         = regexp.MustCompile(`^[A-Za-z0-9\-._~]{1,64}$`)
	pathSubAccount = regexp.MustCompile(`^[A-Za-z0-9\-._&]{3,50}$`)
)

func checkAccepted(t *testing.T, req *Request) {
	t.Helper()
	if !pathID.MatchString(req.ID) || req.ID == "." || req.ID == ".." || !pathSubAccount.MatchString(req.SubAccountID) {
		t.Fatalf("an id can break out of its path segment: %+v", req.Target)
	}
	if req.RequestID == "" || req.Deadline.IsZero() != (req.ScheduledAt == "") {
		t.Fatalf("incomplete: %+v", req)
	}
}

func checkOutcome(t *testing.T, o *Outcome) {
	t.Helper()
	value, headers, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if size := recordSize(o.Key, value, headers); size > MaxOutcomeSize {
		t.Fatalf("%d bytes", size)
	}
	for _, h := range headers {
		if !utf8.Valid(h.Value) || (h.Key == "traceparent" || h.Key == "tracestate") && len(h.Value) > maxTrace {
			t.Fatalf("header %s: %.100q, %d bytes", h.Key, h.Value, len(h.Value))
		}
	}
	if err := validate(t, outcomeSchema, value); err != nil {
		t.Fatalf("%.2000s\n%v", value, err)
	}
	if _, err := DecodeOutcome(value); err != nil {
		t.Fatal(err)
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range requestCases {
		if len(c.value) < 1000 {
			f.Add([]byte(c.value), []byte("key"), "traceparent", []byte("00-1"), int64(1769793669114))
		}
	}
	f.Add([]byte(body), []byte(nil), "ce_id", []byte("\xff"), int64(-1))
	f.Add([]byte(body), []byte{}, "Content-Type", []byte("application/cloudevents+json"), int64(1)<<62)
	f.Fuzz(func(t *testing.T, value, key []byte, headerKey string, headerValue []byte, millis int64) {
		rec := record(string(value), Header{Key: headerKey, Value: headerValue})
		rec.Key, rec.Timestamp = key, time.UnixMilli(millis)
		checkParsed(t, rec)
	})
}

func FuzzCloudEvents(f *testing.F) {
	const attributes = `{"specversion":"1.0","id":"event-1","source":"/orders","type":"t","tracestate":"a=1","traceparent":"00-1",`
	f.Add([]byte(body), "application/json", "1.0", "event-1", "/orders", "00-1")
	f.Add([]byte(body), "application/vnd.x+json; charset=utf-8", "0.3", "", "", "")
	f.Add([]byte(attributes+`"data":`+body+`}`), "application/cloudevents+json", "", "", "", "")
	f.Add([]byte(attributes+`"data_base64":"eyJ1bWlkIjoidS0xIn0="}`), "application/cloudevents+json; charset=UTF-8", "", "", "", "")
	f.Add([]byte(attributes+`"data":null,"data":{},"id":null}`), "application/cloudevents+json", "", "", "", "\n")
	f.Add([]byte(`[]`), "application/cloudevents-batch+json", "", "", "", "")
	f.Fuzz(func(t *testing.T, value []byte, contentType, specVersion, id, source, trace string) {
		checkParsed(t, record(string(value),
			header("content-type", contentType), header("ce_specversion", specVersion), header("ce_id", id),
			header("ce_source", source), header("ce_type", "t"), header("tracestate", trace), header("ce_traceparent", trace)))
		checkParsed(t, record(string(value), header("content-type", contentType), header("traceparent", trace)))
	})
}
