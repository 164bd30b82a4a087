package worker

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func ptr[T any](v T) *T { return &v }

const completed = "2026-01-30T17:21:09.187Z"

// outcome is a valid outcome of a message, cancelled by one call, after change.
func outcome(change func(*Outcome)) *Outcome {
	req := &Request{Target: Target{SubAccountID: "acme", ID: "U-1"}, RequestID: "r-1"}
	o := NewOutcome(record("{}"), req, "cluster")
	o.Status, o.CancelledCount, o.Attempts = StatusCancelled, ptr(1), 1
	o.FirstAttemptAt, o.CompletedAt = "2026-01-30T17:21:09.121Z", completed
	change(o)
	return o
}

func asBatch(o *Outcome) { o.UMID, o.BatchID = "", o.UMID }

func ended(status Status, count *int, e *Error) func(*Outcome) {
	return func(o *Outcome) { o.Status, o.CancelledCount, o.Error = status, count, e }
}

func notCalled(o *Outcome) { o.Attempts, o.FirstAttemptAt = 0, "" }

func both(changes ...func(*Outcome)) func(*Outcome) {
	return func(o *Outcome) {
		for _, change := range changes {
			change(o)
		}
	}
}

func rejected(o *Outcome) {
	*o = *RejectedOutcome(record("x"), &Rejection{Field: "value", Reason: "is not valid JSON"}, "cluster")
	o.CompletedAt = completed
}

func duplicate(o *Outcome) {
	notCalled(o)
	o.Status, o.DuplicateOf = StatusDuplicate, OutcomeID("cluster", "t", 0, 0, recordTime)
}

func full(o *Outcome) {
	o.CampaignID, o.Reason, o.Metadata = "spring-sale", "dropped", map[string]string{"z": "1", "a": "2"}
	o.RequestedAt, o.ScheduledAt = "2026-01-30T17:21:09Z", "2026-01-31T09:00:00+01:00"
	o.Ambiguous, o.Attempts = true, 3
	o.TraceParent, o.TraceState = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=1"
	ended(StatusFailed, nil, &Error{
		Code: ptr(2000), Message: `Internal "error" <1>`, ErrorID: "db9dced4-3534-4d86-9d18-6b448af0d621",
		Timestamp: "2018-07-02T09:42:38.8988997+00:00", HTTPStatus: 500, Kind: KindServerError,
	})(o)
}

func TestRealOutcomesMatchTheSchema(t *testing.T) {
	notFound := &Error{Code: ptr(1300), Message: "Message not found.", HTTPStatus: 404, Kind: KindNotFound}
	network := &Error{Message: "connection refused", Kind: KindNetwork}
	for name, change := range map[string]func(*Outcome){
		"cancelled":                   func(*Outcome) {},
		"cancelled batch, ambiguous":  both(asBatch, func(o *Outcome) { o.CancelledCount, o.Ambiguous = ptr(10000), true }),
		"not cancelled":               ended(StatusNotCancelled, ptr(0), nil),
		"not cancelled, ambiguous":    both(ended(StatusNotCancelled, ptr(0), nil), func(o *Outcome) { o.Ambiguous = true }),
		"failed, everything filled":   full,
		"failed without a call":       both(ended(StatusFailed, nil, &Error{Kind: KindWithdrawn, Message: "campaign withdrawn"}), notCalled),
		"expired":                     both(ended(StatusExpired, nil, nil), notCalled, func(o *Outcome) { o.ScheduledAt = "2026-01-31t09:00:00z" }),
		"expired with an error":       both(ended(StatusExpired, nil, network), func(o *Outcome) { o.ScheduledAt = "2026-01-31T09:00:00Z" }),
		"duplicate of a cancellation": duplicate,
		"duplicate of a failure":      both(duplicate, ended(StatusDuplicate, nil, notFound)),
		"rejected":                    rejected,
		"rejected, empty value":       both(rejected, func(o *Outcome) { o.Source.Value = []byte{} }),
		"rejected tombstone": func(o *Outcome) {
			rec := record("")
			rec.Value = nil
			_, err := Parser{}.Parse(rec)
			*o = *RejectedOutcome(rec, err.(*Rejection), "cluster")
			o.CompletedAt = completed
		},
		"rejected, shrunk": both(rejected, func(o *Outcome) { *o = *o.Shrunk() }),
	} {
		t.Run(name, func(t *testing.T) {
			value, _, err := outcome(change).Encode()
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(t, outcomeSchema, value); err != nil {
				t.Errorf("%s\n%v", value, err)
			}
		})
	}
}

func TestTheSchemaCatchesOutcomesThatCannotBe(t *testing.T) {
	failure := &Error{Kind: KindNetwork, Message: "refused"}
	for name, change := range map[string]func(*Outcome){
		"no completedAt":                  func(o *Outcome) { o.CompletedAt = "" },
		"no requestId":                    func(o *Outcome) { o.RequestID = "" },
		"no target":                       func(o *Outcome) { o.UMID = "" },
		"two targets":                     func(o *Outcome) { o.BatchID = "b" },
		"no sub-account":                  func(o *Outcome) { o.SubAccountID = "" },
		"no status":                       func(o *Outcome) { o.Status = "" },
		"unknown status":                  func(o *Outcome) { o.Status = "done" },
		"unknown kind":                    ended(StatusFailed, nil, &Error{Kind: "strange"}),
		"no kind":                         ended(StatusFailed, nil, &Error{Message: "x"}),
		"an id that is no UUID":           func(o *Outcome) { o.OutcomeID = "1" },
		"a time without milliseconds":     func(o *Outcome) { o.CompletedAt = "2026-01-30T17:21:09Z" },
		"a time that is none":             func(o *Outcome) { o.CompletedAt = "2026-02-30T17:21:09.000Z" },
		"an attempt without its time":     func(o *Outcome) { o.FirstAttemptAt = "" },
		"a time without an attempt":       both(ended(StatusFailed, nil, failure), func(o *Outcome) { o.Attempts = 0 }),
		"cancelled 0":                     func(o *Outcome) { o.CancelledCount = ptr(0) },
		"cancelled without count":         func(o *Outcome) { o.CancelledCount = nil },
		"cancelled with an error":         func(o *Outcome) { o.Error = failure },
		"cancelled without a call":        notCalled,
		"cancelled message ambiguous":     func(o *Outcome) { o.Ambiguous = true },
		"not cancelled 1":                 ended(StatusNotCancelled, ptr(1), nil),
		"not cancelled without count":     ended(StatusNotCancelled, nil, nil),
		"not cancelled with an error":     ended(StatusNotCancelled, ptr(0), failure),
		"failed without error":            ended(StatusFailed, nil, nil),
		"failed with a count":             ended(StatusFailed, ptr(1), failure),
		"expired without a deadline":      ended(StatusExpired, nil, nil),
		"expired with a count":            both(ended(StatusExpired, ptr(1), nil), func(o *Outcome) { o.ScheduledAt = "2026-01-31T09:00:00Z" }),
		"duplicate of nothing":            both(duplicate, func(o *Outcome) { o.DuplicateOf = "" }),
		"duplicate without an answer":     both(duplicate, func(o *Outcome) { o.CancelledCount = nil }),
		"duplicate with two answers":      both(duplicate, func(o *Outcome) { o.Error = failure }),
		"duplicate with a call":           both(duplicate, func(o *Outcome) { o.Attempts, o.FirstAttemptAt = 1, completed }),
		"duplicateOf on another status":   func(o *Outcome) { o.DuplicateOf = o.OutcomeID },
		"rejected as another kind":        both(rejected, func(o *Outcome) { o.Error.Kind = KindNotFound }),
		"rejected without a message":      both(rejected, func(o *Outcome) { o.Error.Message = "" }),
		"rejected without error":          both(rejected, func(o *Outcome) { o.Error = nil }),
		"rejected without its value":      both(rejected, func(o *Outcome) { o.Source.Value = nil }),
		"rejected and ambiguous":          both(rejected, func(o *Outcome) { o.Ambiguous = true }),
		"rejected after a call":           both(rejected, func(o *Outcome) { o.Attempts, o.FirstAttemptAt = 1, completed }),
		"rejected with both ids":          both(rejected, func(o *Outcome) { o.UMID, o.BatchID = "u", "b" }),
		"a value on another status":       func(o *Outcome) { o.Source.Value = []byte("x") },
		"a rejected value over 16 KiB":    both(rejected, func(o *Outcome) { o.Source.Value = make([]byte, maxSourceValue+3) }),
		"a rejected key over 1 KiB":       both(rejected, func(o *Outcome) { o.Source.Key = make([]byte, maxKey+3) }),
		"an id that could break the path": func(o *Outcome) { o.UMID = ".." },
		"no topic":                        func(o *Outcome) { o.Source.Topic = "" },
		"a negative offset":               func(o *Outcome) { o.Source.Offset = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			value, _, err := outcome(change).Encode()
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(t, outcomeSchema, value); err == nil {
				t.Errorf("the schema takes %.500s", value)
			}
		})
	}
}

func TestEncodingIsStable(t *testing.T) {
	value, headers, err := outcome(full).Encode()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, h := range headers {
		got.WriteString(h.Key + ": " + string(h.Value) + "\n")
	}
	if err := json.Indent(&got, value, "", "  "); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/outcome.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got := got.String() + "\n"; got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAnOutcomeIsACloudEvent(t *testing.T) {
	got := headersOf(t, outcome(func(o *Outcome) { o.Source.Topic = "a b/c%" }))
	want := map[string]string{
		"content-type":   "application/json",
		"ce_specversion": "1.0",
		"ce_id":          outcome(func(*Outcome) {}).OutcomeID,
		"ce_source":      "smscancel/a%20b%2Fc%25",
		"ce_type":        "com.8x8.sms.cancel.outcome.v1",
		"ce_time":        completed,
		"ce_subject":     "U-1",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func headersOf(t *testing.T, o *Outcome) map[string]string {
	t.Helper()
	_, headers, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, h := range headers {
		m[h.Key] = string(h.Value)
	}
	if len(m) != len(headers) {
		t.Errorf("a header stands twice: %v", headers)
	}
	return m
}

func TestAnEncodedOutcomeDecodesToItself(t *testing.T) {
	for name, change := range map[string]func(*Outcome){
		"full": full, "rejected": rejected, "duplicate": duplicate, "not cancelled": ended(StatusNotCancelled, ptr(0), nil),
	} {
		t.Run(name, func(t *testing.T) {
			o := outcome(change)
			value, _, err := o.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := DecodeOutcome(value)
			if err != nil {
				t.Fatal(err)
			}
			want := *o
			want.Record, want.Key, want.TraceParent, want.TraceState = RecordID{}, nil, "", ""
			if !reflect.DeepEqual(got, &want) {
				t.Errorf("got  %+v\nwant %+v", got, &want)
			}
		})
	}
}

func TestADecoderToleratesFieldsOfLaterVersions(t *testing.T) {
	o, err := DecodeOutcome([]byte(`{"outcomeId":"x","status":"superseded","new":{"a":1},"error":{"kind":"k","new":1},"source":{"topic":"t","new":2}}`))
	if err != nil || o.OutcomeID != "x" || o.Status != "superseded" || o.Error.Kind != "k" || o.Source.Topic != "t" {
		t.Errorf("got %+v, %v", o, err)
	}
	if _, err := DecodeOutcome([]byte(`{"outcomeId":`)); err == nil {
		t.Error("half an outcome decodes")
	}
}

func TestTextsKeepTheirLimits(t *testing.T) {
	long := "x" + strings.Repeat("\u00fc", 2000)
	shared := &Error{Kind: KindServerError, Message: long, ErrorID: long, Timestamp: long}
	o := outcome(ended(StatusFailed, nil, shared))
	o.TraceParent, o.TraceState = long, long
	headers := headersOf(t, o)
	value, _, _ := o.Encode()
	got, err := DecodeOutcome(value)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		size int
	}{
		"message":     {got.Error.Message, 1023}, // 1 + 511 times 2: the next rune would not fit
		"errorId":     {got.Error.ErrorID, 255},
		"timestamp":   {got.Error.Timestamp, 255},
		"traceparent": {headers["traceparent"], 1023},
		"tracestate":  {headers["tracestate"], 1023},
	} {
		if len(c.text) != c.size || !utf8.ValidString(c.text) || !strings.HasPrefix(long, c.text) {
			t.Errorf("%s has %d bytes, want %d", name, len(c.text), c.size)
		}
	}
	if shared.Message != long || o.TraceParent != long {
		t.Error("encoding changed the outcome, whose error others share")
	}
}

func TestTextsThatAreNotUTF8AreReplaced(t *testing.T) {
	o := outcome(ended(StatusFailed, nil, &Error{Kind: KindBadResponse, Message: "a\xffb\xc3", ErrorID: strings.Repeat("\xff", 256)}))
	o.CampaignID = "\xff"
	value, _, err := o.Encode()
	if err != nil || !utf8.Valid(value) {
		t.Fatalf("%q, %v", value, err)
	}
	got, err := DecodeOutcome(value)
	if err != nil {
		t.Fatal(err)
	}
	if got.Error.Message != "a\uFFFDb\uFFFD" || got.Error.ErrorID != strings.Repeat("\uFFFD", 85) || got.CampaignID != "\uFFFD" {
		t.Errorf("got %+v, %q", got.Error, got.CampaignID)
	}
}

func TestAnOutcomeNeverExceedsItsSize(t *testing.T) {
	large := strings.Repeat("x", MaxOutcomeSize)
	t.Run("value and metadata are given up", func(t *testing.T) {
		o := outcome(rejected)
		o.Metadata = map[string]string{"a": large}
		value, headers, err := o.Encode()
		if err != nil || recordSize(o.Key, value, headers) > MaxOutcomeSize {
			t.Fatalf("%d bytes, %v", len(value), err)
		}
		if err := validate(t, outcomeSchema, value); err != nil {
			t.Error(err)
		}
		if got, _ := DecodeOutcome(value); got.Source.Value != nil || !got.Source.Truncated || got.Metadata != nil {
			t.Errorf("got %+v", got)
		}
		if o.Source.Value == nil || o.Metadata == nil {
			t.Error("encoding changed the outcome")
		}
	})
	t.Run("the value goes first", func(t *testing.T) {
		o := outcome(rejected)
		o.Source.Value, o.Metadata = []byte(large), map[string]string{"a": "b"}
		value, _, err := o.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := DecodeOutcome(value); got.Source.Value != nil || got.Metadata["a"] != "b" {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("nothing left to give up", func(t *testing.T) {
		if _, _, err := outcome(func(o *Outcome) { o.Reason = large }).Encode(); err == nil {
			t.Error("an outcome over the limit was encoded")
		}
	})
}

func TestCutKeepsAtMostTheLimit(t *testing.T) {
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"", 0, ""}, {"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"a\u00fc", 2, "a"}, {"a\u00fc", 3, "a\u00fc"}, {"\U0001F600", 3, ""},
		{"a\xff", 2, "a"}, {"a\xff", 4, "a\uFFFD"}, {"ab\xffc", 3, "ab"},
	} {
		if got := cut(c.text, c.limit); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.text, c.limit, got, c.want)
		}
	}
}
