package worker

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

var recordTime = time.Date(2026, 1, 30, 17, 21, 9, 114e6, time.UTC)

func record(value string, headers ...Header) *Record {
	return &Record{
		Topic: "sms.cancel.requests", Partition: 3, Offset: 1205, Timestamp: recordTime,
		Key: []byte("the-key"), Value: []byte(value), Headers: headers,
	}
}

func header(key, value string) Header { return Header{Key: key, Value: []byte(value)} }

// requestCase is a request and the field that the parser must name, "" for a
// valid one. The default sub-account is set.
type requestCase struct {
	name, value, field string
	beyondSchema       bool // no JSON Schema can tell
}

func with(field string) string { return `{"umid":"u-1","subAccountId":"acme",` + field + `}` }

func quoted(n int) string { return `"` + strings.Repeat("x", n) + `"` }

var requestCases = []requestCase{
	{name: "the least", value: `{"umid":"u-1"}`},
	{name: "a batch", value: `{"batchId":"b-1"}`},
	{name: "umid of every allowed character", value: `{"umid":"AZaz09-._~"}`},
	{name: "umid of 64", value: `{"umid":` + quoted(64) + `}`},
	{name: "umid of three dots", value: `{"umid":"..."}`},
	{name: "umid escaped", value: `{"umid":"\u0061"}`},
	{name: "umid of 65", value: `{"umid":` + quoted(65) + `}`, field: "umid"},
	{name: "umid empty", value: `{"umid":""}`, field: "umid"},
	{name: "umid dot", value: `{"umid":"."}`, field: "umid"},
	{name: "umid dot dot", value: `{"umid":".."}`, field: "umid"},
	{name: "umid escaped dot dot", value: `{"umid":"\u002e\u002E"}`, field: "umid"},
	{name: "umid with a slash", value: `{"umid":"a/b"}`, field: "umid"},
	{name: "umid with an escape", value: `{"umid":"a%2fb"}`, field: "umid"},
	{name: "umid with a newline", value: `{"umid":"a\n"}`, field: "umid"},
	{name: "umid not ASCII", value: "{\"umid\":\"\u00fc\"}", field: "umid"},
	{name: "umid a number", value: `{"umid":1}`, field: "umid"},
	{name: "umid null", value: `{"umid":null}`, field: "umid"},
	{name: "umid null beside a batch", value: `{"umid":null,"batchId":"b-1"}`, field: "umid"},
	{name: "no id", value: `{"subAccountId":"acme"}`, field: "umid"},
	{name: "names are exact", value: `{"UMID":"u-1"}`, field: "umid"},
	{name: "batchId null beside a umid", value: `{"umid":"u-1","batchId":null}`},
	{name: "batchId null alone", value: `{"batchId":null}`, field: "umid"},
	{name: "batchId with a space", value: `{"batchId":"a b"}`, field: "batchId"},
	{name: "both ids", value: `{"umid":"u-1","batchId":"b-1"}`, field: "batchId"},

	{name: "subAccountId of every allowed character", value: `{"umid":"u","subAccountId":"AZaz09-._&"}`},
	{name: "subAccountId of 3", value: `{"umid":"u","subAccountId":"abc"}`},
	{name: "subAccountId of 50", value: `{"umid":"u","subAccountId":` + quoted(50) + `}`},
	{name: "subAccountId null", value: `{"umid":"u","subAccountId":null}`},
	{name: "subAccountId of 2", value: `{"umid":"u","subAccountId":"ab"}`, field: "subAccountId"},
	{name: "subAccountId of 51", value: `{"umid":"u","subAccountId":` + quoted(51) + `}`, field: "subAccountId"},
	{name: "subAccountId with a tilde", value: `{"umid":"u","subAccountId":"a~bc"}`, field: "subAccountId"},
	{name: "subAccountId with a slash", value: `{"umid":"u","subAccountId":"a/bc"}`, field: "subAccountId"},
	{name: "subAccountId empty", value: `{"umid":"u","subAccountId":""}`, field: "subAccountId"},
	{name: "subAccountId a list", value: `{"umid":"u","subAccountId":["acme"]}`, field: "subAccountId"},

	{name: "requestId of 128", value: with(`"requestId":` + quoted(128))},
	{name: "requestId null", value: with(`"requestId":null`)},
	{name: "requestId of 129", value: with(`"requestId":` + quoted(129)), field: "requestId"},
	{name: "requestId of 129 bytes in 128 characters", value: with(`"requestId":"` + strings.Repeat("x", 127) + "\u00fc\""), field: "requestId", beyondSchema: true},
	{name: "requestId a number", value: with(`"requestId":7`), field: "requestId"},

	{name: "times", value: with(`"requestedAt":"2026-01-30T17:21:09Z","scheduledAt":"2026-01-31T09:00:00.123456789+01:00"`)},
	{name: "time in lower case", value: with(`"scheduledAt":"2026-01-31t09:00:00z"`)},
	{name: "time with unknown offset", value: with(`"scheduledAt":"2026-01-31T09:00:00-00:00"`)},
	{name: "times null", value: with(`"requestedAt":null,"scheduledAt":null`)},
	{name: "time without offset", value: with(`"scheduledAt":"2026-01-31T09:00:00"`), field: "scheduledAt"},
	{name: "time without seconds", value: with(`"scheduledAt":"2026-01-31T09:00Z"`), field: "scheduledAt"},
	{name: "time with a one-digit hour", value: with(`"scheduledAt":"2026-01-31T9:00:00Z"`), field: "scheduledAt"},
	{name: "time with a comma", value: with(`"scheduledAt":"2026-01-31T09:00:00,5Z"`), field: "scheduledAt"},
	{name: "time with an offset of 24 hours", value: with(`"scheduledAt":"2026-01-31T09:00:00+24:00"`), field: "scheduledAt"},
	{name: "time with a space", value: with(`"scheduledAt":"2026-01-31 09:00:00Z"`), field: "scheduledAt"},
	{name: "time on a day that is none", value: with(`"requestedAt":"2026-02-30T09:00:00Z"`), field: "requestedAt"},
	{name: "time empty", value: with(`"requestedAt":""`), field: "requestedAt"},
	{name: "time a number", value: with(`"scheduledAt":1769850000`), field: "scheduledAt"},

	{name: "campaignId of 128", value: with(`"campaignId":` + quoted(128))},
	{name: "campaignId null", value: with(`"campaignId":null`)},
	{name: "campaignId of 129", value: with(`"campaignId":` + quoted(129)), field: "campaignId"},
	{name: "campaignId an object", value: with(`"campaignId":{}`), field: "campaignId"},
	{name: "reason of 256", value: with(`"reason":` + quoted(256))},
	{name: "reason null", value: with(`"reason":null`)},
	{name: "reason of 257", value: with(`"reason":` + quoted(257)), field: "reason"},
	{name: "reason of 257 bytes", value: with(`"reason":"` + strings.Repeat("x", 255) + `\u00fc"`), field: "reason", beyondSchema: true},

	{name: "metadata", value: with(`"metadata":{"a":"1","b":""}`)},
	{name: "metadata empty", value: with(`"metadata":{}`)},
	{name: "metadata null", value: with(`"metadata":null`)},
	{name: "metadata of 4096", value: with(`"metadata":{"ab":` + quoted(4000) + `,"cd":` + quoted(92) + `}`)},
	{name: "metadata of 4097", value: with(`"metadata":{"ab":` + quoted(4000) + `,"cd":` + quoted(93) + `}`), field: "metadata", beyondSchema: true},
	{name: "metadata of one long value", value: with(`"metadata":{"":` + quoted(4097) + `}`), field: "metadata"},
	{name: "metadata with a number", value: with(`"metadata":{"a":1}`), field: "metadata"},
	{name: "metadata with a null", value: with(`"metadata":{"a":null}`), field: "metadata"},
	{name: "metadata nested", value: with(`"metadata":{"a":{"b":"c"}}`), field: "metadata"},
	{name: "metadata a list", value: with(`"metadata":["a"]`), field: "metadata"},
	{name: "metadata with a name twice", value: with(`"metadata":{"a":"1","\u0061":"2"}`), field: "metadata", beyondSchema: true},

	{name: "force true", value: with(`"force":true`)},
	{name: "force false", value: with(`"force":false`)},
	{name: "force null", value: with(`"force":null`)},
	{name: "force a string", value: with(`"force":"true"`), field: "force"},
	{name: "force a number", value: with(`"force":1`), field: "force"},

	{name: "unknown fields", value: with(`"x":[1,{"umid":"other"}],"Force":7`)},
	{name: "unknown field twice", value: with(`"x":1,"x":2`)},
	{name: "white space around", value: " \r\n\t{ \"umid\" : \"u-1\" } \n"},
	{name: "umid twice", value: `{"umid":"u-1","umid":"u-1"}`, field: "umid", beyondSchema: true},
	{name: "umid twice, once escaped", value: `{"umid":"u-1","\u0075mid":"u-2"}`, field: "umid", beyondSchema: true},
	{name: "force twice, once null", value: with(`"force":null,"force":true`), field: "force", beyondSchema: true},

	{name: "empty", value: ``, field: "value"},
	{name: "white space only", value: " \n", field: "value"},
	{name: "null", value: `null`, field: "value"},
	{name: "a list", value: `[{"umid":"u-1"}]`, field: "value"},
	{name: "a string", value: `"u-1"`, field: "value"},
	{name: "no JSON", value: `umid=u-1`, field: "value"},
	{name: "cut short", value: `{"umid":"u-1"`, field: "value"},
	{name: "a comma too many", value: `{"umid":"u-1",}`, field: "value"},
	{name: "a byte order mark", value: "\uFEFF" + `{"umid":"u-1"}`, field: "value"},
	{name: "trailing bytes", value: `{"umid":"u-1"}x`, field: "value"},
	{name: "a second object", value: `{"umid":"u-1"} {}`, field: "value"},
	{name: "a trailing NUL", value: `{"umid":"u-1"}` + "\x00", field: "value"},
	{name: "not UTF-8", value: with(`"reason":"` + "\xff" + `"`), field: "value", beyondSchema: true},
	{name: "half a surrogate pair", value: with(`"reason":"\ud800"`), field: "value", beyondSchema: true},
	{name: "not UTF-8 in an unknown field", value: with(`"x":"` + "\xc0\x80" + `"`), field: "value", beyondSchema: true},
	{name: "nested too deep", value: with(`"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000)), field: "value", beyondSchema: true},
	{name: "64 KiB", value: padded(MaxRequestSize)},
	{name: "over 64 KiB", value: padded(MaxRequestSize + 1), field: "value", beyondSchema: true},
}

// padded is a valid request of n bytes.
func padded(n int) string {
	const begin = `{"umid":"u-1"}`
	return begin + strings.Repeat(" ", n-len(begin))
}

func TestEveryRuleOfARequestIsKeptAndItsFieldNamed(t *testing.T) {
	for _, c := range requestCases {
		t.Run(c.name, func(t *testing.T) {
			req, err := Parser{DefaultSubAccount: "default_sub"}.Parse(record(c.value))
			if c.field == "" {
				if err != nil || req == nil {
					t.Fatalf("got %v, want a request", err)
				}
				return
			}
			rejection := rejectionOf(t, req, err)
			if rejection.Field != c.field || rejection.Reason == "" {
				t.Errorf("rejected with %q, want field %s", err, c.field)
			}
		})
	}
}

func rejectionOf(t *testing.T, req *Request, err error) *Rejection {
	t.Helper()
	var rejection *Rejection
	if !errors.As(err, &rejection) || req != nil {
		t.Fatalf("got %+v and %v, want a rejection", req, err)
	}
	if rejection.Partial == nil {
		t.Fatal("the rejection has nothing to echo")
	}
	return rejection
}

func TestARequestIsReadWhole(t *testing.T) {
	req, err := Parser{}.Parse(record(`{
		"umid": "FBB239F1-2eb1", "subAccountId": "acme&co", "requestId": "r\"1", "requestedAt": "2026-01-30T17:21:09Z",
		"scheduledAt": "2026-01-31T09:00:00+01:00", "campaignId": "c", "reason": "\u00fc", "metadata": {"k": "v\n"}, "force": true }`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Request{
		Target:      Target{SubAccountID: "acme&co", ID: "FBB239F1-2eb1"},
		RequestID:   `r"1`,
		RequestedAt: "2026-01-30T17:21:09Z",
		ScheduledAt: "2026-01-31T09:00:00+01:00",
		Deadline:    req.Deadline,
		CampaignID:  "c", Reason: "\u00fc",
		Metadata: map[string]string{"k": "v\n"},
		Force:    true,
	}
	if !reflect.DeepEqual(req, want) {
		t.Errorf("got  %+v\nwant %+v", req, want)
	}
	if deadline := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC); !req.Deadline.Equal(deadline) {
		t.Errorf("deadline %v, want %v", req.Deadline, deadline)
	}
}

func TestADeadlineInYearOneIsADeadline(t *testing.T) {
	req, err := Parser{}.Parse(record(with(`"scheduledAt":"0001-01-01T00:00:00+00:00"`)))
	if err != nil || req.Deadline.IsZero() {
		t.Errorf("got %+v, %v", req, err)
	}
}

func TestDefaultsAreApplied(t *testing.T) {
	req, err := Parser{DefaultSubAccount: "default_sub"}.Parse(record(`{"batchId":"B-1","requestId":""}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Request{Target: Target{SubAccountID: "default_sub", ID: "B-1", Batch: true}, RequestID: "sms.cancel.requests/3/1205"}
	if !reflect.DeepEqual(req, want) {
		t.Errorf("got  %+v\nwant %+v", req, want)
	}
}

func TestASubAccountIsRequiredWithoutADefault(t *testing.T) {
	for _, value := range []string{`{"umid":"u-1"}`, `{"umid":"u-1","subAccountId":null}`} {
		req, err := Parser{}.Parse(record(value))
		if r := rejectionOf(t, req, err); r.Field != "subAccountId" {
			t.Errorf("%s: rejected with %q", value, err)
		}
	}
}

func TestAReasonSaysWhatIsWrong(t *testing.T) {
	for value, want := range map[string]string{
		"\uFEFF{}":              "value: begins with a byte order mark",
		"":                      "value: is empty",
		" ":                     "value: is empty",
		"[]":                    "value: must be a JSON object",
		`{"umid":"u-1"} x`:      "value: has trailing bytes after the JSON object",
		`{"umid":"u-1"`:         "value: is not valid JSON: unexpected EOF, after byte 13",
		`{"umid":7}`:            "umid: must be a string",
		with(`"umid":"u-2"`):    "umid: stands twice",
		padded(65537):           "value: has 65537 bytes, at most 65536 are allowed",
		with(`"metadata":[]`):   "metadata: must be an object of strings",
		with(`"force":"x"`):     "force: must be true or false",
		with(`"scheduledAt":1`): "scheduledAt: must be a string",
	} {
		if _, err := (Parser{DefaultSubAccount: "acme"}).Parse(record(value)); err == nil || err.Error() != want {
			t.Errorf("%.40q: %v, want %s", value, err, want)
		}
	}
}

func TestATombstoneIsRejected(t *testing.T) {
	rec := record("")
	rec.Value = nil
	req, err := Parser{}.Parse(rec)
	if r := rejectionOf(t, req, err); r.Field != "value" || !strings.Contains(r.Reason, "null") {
		t.Errorf("rejected with %q", err)
	}
}

func TestEveryValidFieldOfARejectedRecordIsEchoed(t *testing.T) {
	const rest = `"subAccountId":"acme","requestId":"r","requestedAt":"2026-01-30T17:21:09Z","campaignId":"c","reason":"why","metadata":{"a":"b"}`
	echo := Request{
		Target: Target{SubAccountID: "acme"}, RequestID: "r", RequestedAt: "2026-01-30T17:21:09Z",
		CampaignID: "c", Reason: "why", Metadata: map[string]string{"a": "b"},
	}
	withID := echo
	withID.ID = "u-1"
	defaults := Request{RequestID: "sms.cancel.requests/3/1205"}
	for _, c := range []struct {
		name, value string
		want        Request
	}{
		{"an invalid field before", `{"umid":"!",` + rest + `}`, echo},
		{"an invalid field after", `{` + rest + `,"umid":null}`, echo},
		{"an invalid time", `{"umid":"u-1","scheduledAt":"soon",` + rest + `}`, withID},
		{"both ids", `{"batchId":"b-1","umid":"u-1",` + rest + `}`, withID},
		{"an id that stands twice", `{"umid":"u-1",` + rest + `,"umid":"u-2"}`, echo},
		{"metadata that stands twice", `{"umid":"u-1","metadata":{"a":"b"},"metadata":null}`, Request{Target: Target{ID: "u-1"}, RequestID: defaults.RequestID}},
		{"an invalid requestId", `{"umid":"u-1","requestId":7}`, Request{Target: Target{ID: "u-1"}, RequestID: defaults.RequestID}},
		{"not JSON, however well it begins", `{"umid":"u-1",` + rest + `}}`, defaults},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := Parser{DefaultSubAccount: "default_sub"}.Parse(record(c.value))
			if r := rejectionOf(t, req, err); !reflect.DeepEqual(*r.Partial, c.want) {
				t.Errorf("%v echoes %+v\nwant %+v", err, *r.Partial, c.want)
			}
		})
	}
}

func TestARequestSharesNoMemoryWithItsRecord(t *testing.T) {
	rec := record(`{"umid":"u-1","subAccountId":"acme","metadata":{"a":"b"}}`, header("traceparent", "00-1"))
	req, err := Parser{}.Parse(rec)
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprintf("%+v", req)
	clear(rec.Value)
	clear(rec.Headers[0].Value)
	if after := fmt.Sprintf("%+v", req); after != before {
		t.Errorf("the request changed with the record: %s", after)
	}
}

const plainRequest = `{"umid":"fbb239f1-2eb1-ea11-afa9-00155db6eaf4","subAccountId":"acme_notifications","scheduledAt":"2026-01-31T08:00:00Z","campaignId":"spring-sale"}`

func TestAPlainRequestCostsFewAllocations(t *testing.T) {
	rec := record(plainRequest)
	allocations := testing.AllocsPerRun(1000, func() {
		if _, err := (Parser{}).Parse(rec); err != nil {
			t.Fatal(err)
		}
	})
	// The request, its four texts and the default requestId; the rest is room
	// for a decoder that the garbage collector took from the pool.
	if allocations > 8 {
		t.Errorf("%v allocations", allocations)
	}
}

func BenchmarkParse(b *testing.B) {
	rec := record(plainRequest)
	b.SetBytes(int64(len(plainRequest)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Parser{}).Parse(rec); err != nil {
			b.Fatal(err)
		}
	}
}
