package worker

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// checkParsed parses a record and checks what must hold for any bytes at all.
func checkParsed(t *testing.T, rec *Record) (*Request, *Rejection) {
	t.Helper()
	req, err := Parser{DefaultSubAccount: "default_sub"}.Parse(rec)
	var o *Outcome
	var rejection *Rejection
	if err == nil {
		checkAccepted(t, req)
		o = NewOutcome(rec, req, "cluster")
		o.Status, o.Error = StatusFailed, &Error{Kind: KindNetwork, Message: string(rec.Value)}
	} else {
		if !errors.As(err, &rejection) || rejection.Field == "" || rejection.Reason == "" || req != nil {
			t.Fatalf("got %+v and %v", req, err)
		}
		o = RejectedOutcome(rec, rejection, "cluster")
	}
	o.CompletedAt = FormatTime(recordTime)
	checkOutcome(t, o)
	return req, rejection
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
	text := rendered(t, req)
	if len(text) > MaxRequestSize {
		return // names and escapes of ours, on top of a request at the limit
	}
	again, err := Parser{}.Parse(record(string(text), Header{"traceparent", []byte(req.TraceParent)}, Header{"tracestate", []byte(req.TraceState)}))
	if err != nil || !reflect.DeepEqual(again, req) {
		t.Fatalf("%.2000s\nread again is %.2000s\n%v", fmt.Sprint(req), fmt.Sprint(again), err)
	}
}

// rendered is a request as a plain JSON text.
func rendered(t *testing.T, req *Request) []byte {
	t.Helper()
	id := "umid"
	if req.Batch {
		id = "batchId"
	}
	fields := map[string]any{id: req.ID, "subAccountId": req.SubAccountID, "requestId": req.RequestID, "campaignId": req.CampaignID,
		"reason": req.Reason, "metadata": req.Metadata, "force": req.Force}
	for name, at := range map[string]string{"requestedAt": req.RequestedAt, "scheduledAt": req.ScheduledAt} {
		if at != "" {
			fields[name] = at
		}
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return text
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

// FuzzParse reads any record with any header. What is accepted has ids that fit
// the path, is valid by the published schema, and reads the same when it is
// written again; what is rejected names its field; either gets a valid outcome
// of at most 256 KiB.
func FuzzParse(f *testing.F) {
	for _, c := range requestCases {
		if len(c.value) < 1000 {
			f.Add([]byte(c.value), []byte("key"), "traceparent", []byte("00-1"), int64(1769793669114))
		}
	}
	f.Fuzz(func(t *testing.T, value, key []byte, headerKey string, headerValue []byte, millis int64) {
		rec := record(string(value), Header{Key: headerKey, Value: headerValue})
		rec.Key, rec.Timestamp = key, time.UnixMilli(millis)
		req, _ := checkParsed(t, rec)
		if lower := strings.ToLower(headerKey); req == nil || lower == "content-type" || strings.HasPrefix(lower, "ce_") {
			return // a CloudEvent's value is not the request
		}
		if err := validate(t, requestSchema, value); err != nil {
			t.Fatalf("accepted %q, against the schema: %v", value, err)
		}
	})
}

// FuzzCloudEvents reads any record whose headers say that it is a CloudEvent.
func FuzzCloudEvents(f *testing.F) {
	f.Fuzz(func(t *testing.T, value []byte, contentType, specVersion, id, source, trace string) {
		checkParsed(t, record(string(value),
			header("content-type", contentType), header("ce_specversion", specVersion), header("ce_id", id),
			header("ce_source", source), header("ce_type", "t"), header("tracestate", trace), header("ce_traceparent", trace)))
		checkParsed(t, record(string(value), header("content-type", contentType), header("traceparent", trace)))
	})
}

// FuzzModes wraps a request in a CloudEvent in every way. It means the same as
// when it stands alone: the same request, or a rejection of the same field.
func FuzzModes(f *testing.F) {
	for _, c := range requestCases {
		if len(c.value) < 1000 {
			f.Add([]byte(c.value))
		}
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if len(value) > MaxRequestSize/2 {
			return
		}
		plain, rejection := checkParsed(t, record(string(value)))
		same := func(rec *Record, part string) {
			t.Helper()
			req, other := checkParsed(t, rec)
			switch {
			case plain == nil && other != nil:
				field := rejection.Field
				if field == "value" {
					field = part
				}
				if other.Field != field {
					t.Fatalf("%q: %v alone, %v in an event", value, rejection, other)
				}
			case plain == nil || req == nil:
				t.Fatalf("%q: %+v (%v) alone, %+v (%v) in an event", value, plain, rejection, req, other)
			default:
				if req.RequestID == "event-1" {
					req.RequestID = plain.RequestID
				}
				if !reflect.DeepEqual(req, plain) {
					t.Fatalf("%q: %+v alone, %+v in an event", value, plain, req)
				}
			}
		}
		same(binary(string(value)), "value")
		same(structured(`,"data_base64":"`+base64.StdEncoding.EncodeToString(value)+`"`), "data_base64")
		if eachMember(value, func([]byte, jsontext.Value) {}) == "" { // else it cannot stand in another text
			same(structured(`,"data":`+string(value)), "data")
		}
	})
}

// FuzzDecodeOutcome reads any bytes as an outcome, as a read-back does. What
// decodes can be encoded again, within 256 KiB or refused, and is the same then.
func FuzzDecodeOutcome(f *testing.F) {
	f.Fuzz(func(t *testing.T, value []byte) {
		o, err := DecodeOutcome(value)
		if err != nil {
			if o != nil {
				t.Fatalf("%+v and %v", o, err)
			}
			return
		}
		o.AnswersDuplicates()
		again, headers, err := o.Encode()
		if err != nil {
			if len(value) < MaxOutcomeSize/2 {
				t.Fatal(err)
			}
			return
		}
		if size := recordSize(nil, again, headers); size > MaxOutcomeSize {
			t.Fatalf("%d bytes", size)
		}
		back, err := DecodeOutcome(again)
		if err != nil {
			t.Fatalf("%s\n%v", again, err)
		}
		once, _, err := back.Encode()
		if err != nil || !bytes.Equal(once, again) {
			t.Fatalf("%s\nbecame\n%s\n%v", again, once, err)
		}
	})
}
