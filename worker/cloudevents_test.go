package worker

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const body = `{"umid":"u-1","subAccountId":"acme"}`

// binary is a complete CloudEvent in binary mode. A replaced header takes the
// place of its own; one without a value is left out.
func binary(value string, replaced ...Header) *Record {
	all := []Header{
		header("ce_specversion", "1.0"), header("ce_id", "event-1"), header("ce_source", "/orders"),
		header("ce_type", "com.example.cancel"), header("content-type", "application/json"),
	}
	for _, r := range replaced {
		all = slices.DeleteFunc(all, func(h Header) bool { return h.Key == r.Key })
		if r.Value != nil {
			all = append(all, r)
		}
	}
	return record(value, all...)
}

// structured is a CloudEvent in structured mode with further members.
func structured(members string) *Record {
	return record(`{"specversion":"1.0","id":"event-1","source":"/orders","type":"com.example.cancel"`+members+`}`,
		header("content-type", "application/cloudevents+json; charset=utf-8"))
}

func without(key string) Header { return Header{Key: key} }

func TestCloudEventsOfBothModesAreAccepted(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte(body))
	for _, c := range []struct {
		name      string
		rec       *Record
		requestID string
	}{
		{"binary", binary(body), "event-1"},
		{"binary without content type", binary(body, without("content-type")), "event-1"},
		{"binary with another JSON type", binary(body, header("content-type", `Application/Vnd.Order+JSON; charset="UTF-8"`)), "event-1"},
		{"binary, header names in another case", binary(body, without("content-type"), without("ce_id"), header("Content-Type", "application/json"), header("CE_ID", "event-2")), "event-2"},
		{"binary, the request's own id first", binary(`{"umid":"u-1","subAccountId":"acme","requestId":"own"}`), "own"},
		{"binary, an id too long that is not needed", binary(`{"umid":"u-1","subAccountId":"acme","requestId":"own"}`, header("ce_id", strings.Repeat("x", 129))), "own"},
		{"binary, the last of two headers counts", binary(body, header("ce_id", "a"), Header{Key: "x"}, header("ce_id", "b")), "b"},
		{"structured", structured(`,"data":` + body), "event-1"},
		{"structured, data before the rest", record(`{"data":`+body+`,"id":"event-1","specversion":"1.0","source":"s","type":"t"}`, header("Content-Type", "application/cloudevents+json")), "event-1"},
		{"structured, content type in another case", record(`{"specversion":"1.0","id":"event-1","source":"s","type":"t","data":`+body+`}`, header("content-type", "Application/CloudEvents+JSON")), "event-1"},
		{"structured with a JSON data type", structured(`,"datacontenttype":"application/json","data":` + body), "event-1"},
		{"structured with extensions", structured(`,"partitionkey":"x","partitionkey":"y","time":null,"subject":7,"data":` + body), "event-1"},
		{"structured with null attributes", structured(`,"datacontenttype":null,"traceparent":null,"data_base64":null,"data":` + body), "event-1"},
		{"structured with base64", structured(`,"data_base64":"` + encoded + `"`), "event-1"},
		{"plain with an unrelated content type", record(body, header("content-type", "text/plain")), "sms.cancel.requests/3/1205"},
		{"plain with unrelated headers", record(body, header("ce", "x"), header("ce_time", "now"), header("id", "x")), "sms.cancel.requests/3/1205"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := Parser{}.Parse(c.rec)
			if err != nil {
				t.Fatal(err)
			}
			if req.Target != (Target{SubAccountID: "acme", ID: "u-1"}) || req.RequestID != c.requestID {
				t.Errorf("got %+v", req)
			}
		})
	}
}

func TestMalformedCloudEventsAreRejectedByField(t *testing.T) {
	const defaultID = "sms.cancel.requests/3/1205"
	for _, c := range []struct {
		name             string
		rec              *Record
		field, requestID string
		umid             string // of the echo
	}{
		{"binary of another version", binary(body, header("ce_specversion", "0.3")), "ce_specversion", "event-1", "u-1"},
		{"binary without version", binary(body, without("ce_specversion")), "ce_specversion", "event-1", "u-1"},
		{"binary without id", binary(body, without("ce_id")), "ce_id", defaultID, "u-1"},
		{"binary with an empty id", binary(body, header("ce_id", "")), "ce_id", defaultID, "u-1"},
		{"binary with an id of 129", binary(body, header("ce_id", strings.Repeat("x", 129))), "ce_id", defaultID, "u-1"},
		{"binary with an id that is not UTF-8", binary(body, header("ce_id", "\xff")), "ce_id", defaultID, "u-1"},
		{"binary without source", binary(body, without("ce_source")), "ce_source", "event-1", "u-1"},
		{"binary without type", binary(body, without("ce_type")), "ce_type", "event-1", "u-1"},
		{"binary that is not JSON", binary(body, header("content-type", "application/xml")), "content-type", "event-1", ""},
		{"binary in another character set", binary(body, header("content-type", "application/json; charset=utf-16")), "content-type", "event-1", ""},
		{"binary with a broken content type", binary(body, header("content-type", ";")), "content-type", "event-1", ""},
		{"binary with a broken parameter", binary(body, header("content-type", "application/json; charset")), "content-type", "event-1", ""},
		{"binary with an invalid request", binary(`{"umid":""}`), "umid", "event-1", ""},
		{"binary with no JSON", binary(`x`), "value", "event-1", ""},
		{"structured of another version", structured(`,"specversion":"1.0","data":` + body), "specversion", "event-1", "u-1"},
		{"structured with a number as version", record(`{"specversion":1.0,"id":"i","source":"s","type":"t","data":`+body+`}`, header("content-type", structuredType)), "specversion", "i", "u-1"},
		{"structured without id", record(`{"specversion":"1.0","source":"s","type":"t","data":`+body+`}`, header("content-type", structuredType)), "id", defaultID, "u-1"},
		{"structured without source", record(`{"specversion":"1.0","id":"i","type":"t","data":`+body+`}`, header("content-type", structuredType)), "source", "i", "u-1"},
		{"structured without type", record(`{"specversion":"1.0","id":"i","source":"s","data":`+body+`}`, header("content-type", structuredType)), "type", "i", "u-1"},
		{"structured, id twice", structured(`,"id":"event-2","data":` + body), "id", defaultID, "u-1"},
		{"structured without data", structured(``), "data", "event-1", ""},
		{"structured with null data", structured(`,"data":null`), "data", "event-1", ""},
		{"structured with data as text", structured(fmt.Sprintf(`,"data":%q`, body)), "data", "event-1", ""},
		{"structured with data twice", structured(`,"data":` + body + `,"data":` + body), "data", "event-1", ""},
		{"structured with both kinds of data", structured(`,"data_base64":"e30=","data":` + body), "data_base64", "event-1", ""},
		{"structured with broken base64", structured(`,"data_base64":"e30"`), "data_base64", "event-1", ""},
		{"structured with a line break in base64", structured(`,"data_base64":"e3\n0="`), "data_base64", "event-1", ""},
		{"structured with base64 of no JSON", structured(`,"data_base64":"eA=="`), "data_base64", "event-1", ""},
		{"structured with base64 of nothing", structured(`,"data_base64":""`), "data_base64", "event-1", ""},
		{"structured with an invalid request", structured(`,"data":{"umid":"u-1","subAccountId":"acme","force":1}`), "force", "event-1", "u-1"},
		{"structured with XML data", structured(`,"datacontenttype":"application/xml","data":` + body), "datacontenttype", "event-1", ""},
		{"structured with trailing bytes", record(`{"specversion":"1.0","id":"i","source":"s","type":"t","data":`+body+`}x`, header("content-type", structuredType)), "value", defaultID, ""},
		{"structured in another format", record(body, header("content-type", "application/cloudevents+avro")), "content-type", defaultID, ""},
		{"a batch of events", record(`[]`, header("content-type", "application/cloudevents-batch+json")), "content-type", defaultID, ""},
		{"structured over 64 KiB", structured(`,"data":` + body + strings.Repeat(" ", MaxRequestSize)), "value", defaultID, ""},
		{"binary over 64 KiB", binary(padded(MaxRequestSize + 1)), "value", "event-1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := Parser{}.Parse(c.rec)
			r := rejectionOf(t, req, err)
			if r.Field != c.field || r.Partial.RequestID != c.requestID || r.Partial.ID != c.umid {
				t.Errorf("rejected with %q, echoes %q and %q, want %s, %q and %q", err, r.Partial.RequestID, r.Partial.ID, c.field, c.requestID, c.umid)
			}
		})
	}
}

func TestATombstoneInACloudEventIsRejected(t *testing.T) {
	for _, rec := range []*Record{binary(""), structured("")} {
		rec.Value = nil
		req, err := Parser{}.Parse(rec)
		if r := rejectionOf(t, req, err); r.Field != "value" {
			t.Errorf("rejected with %q", err)
		}
	}
}

func TestTraceContextIsContinued(t *testing.T) {
	const own, outer = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-11111111111111111111111111111111-2222222222222222-00"
	for _, c := range []struct {
		name          string
		rec           *Record
		parent, state string
	}{
		{"none", record(body), "", ""},
		{"a plain record's headers", record(body, header("traceparent", own), header("tracestate", "a=1")), own, "a=1"},
		{"header names in another case", record(body, header("Traceparent", own)), own, ""},
		{"an extension of a binary event", binary(body, header("ce_traceparent", own), header("ce_tracestate", "a=1")), own, "a=1"},
		{"an extension header alone", record(body, header("ce_traceparent", own)), own, ""},
		{"an extension of a structured event", structured(`,"traceparent":"` + own + `","tracestate":"a=1","data":` + body), own, "a=1"},
		{"the record's header first, unmixed", binary(body, header("traceparent", own), header("ce_traceparent", outer), header("ce_tracestate", "a=1")), own, ""},
		{"a state without a parent", record(body, header("tracestate", "a=1")), "", ""},
		{"control characters", record(body, header("traceparent", own+"\r\nX: y")), "", ""},
		{"control characters in a structured event", structured(`,"traceparent":"\u0000","data":` + body), "", ""},
		{"not UTF-8", record(body, header("traceparent", "00-\xff")), "00-\uFFFD", ""},
		{"too long", record(body, header("traceparent", "x"+strings.Repeat("\u00fc", 1000))), "x" + strings.Repeat("\u00fc", 511), ""},
		{"a state too long is cut at an entry", record(body, header("traceparent", own), header("tracestate", "a="+strings.Repeat("x", 500)+",b=1,c="+strings.Repeat("x", 600))), own, "a=" + strings.Repeat("x", 500) + ",b=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := Parser{}.Parse(c.rec)
			if err != nil {
				t.Fatal(err)
			}
			if req.TraceParent != c.parent || req.TraceState != c.state {
				t.Errorf("got %q and %q", req.TraceParent, req.TraceState)
			}
		})
	}
}

func TestTraceContextOfARejectedRecordIsContinuedToo(t *testing.T) {
	req, err := Parser{}.Parse(record(`{}`, header("traceparent", "00-1"), header("tracestate", "a=1")))
	if r := rejectionOf(t, req, err); r.Partial.TraceParent != "00-1" || r.Partial.TraceState != "a=1" {
		t.Errorf("got %+v", r.Partial)
	}
}
