package worker

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestOutcomeIDIsAlwaysTheSameForARecordAndNeverForAnother(t *testing.T) {
	// A published value: readers may compute ids themselves, so it never changes.
	const golden = "14bca52e-1f7b-5f11-9c79-253ae216908f"
	if got := OutcomeID("cluster", "topic", 3, 1205, recordTime); got != golden {
		t.Errorf("got %s, want %s", got, golden)
	}
	if want := uuid.NewSHA1(outcomeNamespace, []byte("cluster/topic/3/1205/1769793669114")).String(); want != golden {
		t.Errorf("the documented name gives %s", want)
	}
	for name, other := range map[string]string{
		"cluster":   OutcomeID("cluster2", "topic", 3, 1205, recordTime),
		"topic":     OutcomeID("cluster", "topic2", 3, 1205, recordTime),
		"partition": OutcomeID("cluster", "topic", 4, 1205, recordTime),
		"offset":    OutcomeID("cluster", "topic", 3, 1206, recordTime),
		"timestamp": OutcomeID("cluster", "topic", 3, 1205, recordTime.Add(time.Millisecond)),
		"digits":    OutcomeID("cluster", "topic", 31, 205, recordTime),
	} {
		if other == golden {
			t.Errorf("another %s has the same id", name)
		}
	}
}

func TestANewOutcomeEchoesItsRequest(t *testing.T) {
	rec := record("{}")
	req := &Request{
		Target: Target{SubAccountID: "acme", ID: "U-1"}, RequestID: "r", RequestedAt: "2026-01-30T17:21:09Z",
		ScheduledAt: "2026-01-31T09:00:00+01:00", CampaignID: "c", Reason: "why", Metadata: map[string]string{"a": "b"},
		TraceParent: "00-1", TraceState: "a=1",
	}
	o := NewOutcome(rec, req, "cluster")
	if o.UMID != "U-1" || o.BatchID != "" || o.SubAccountID != "acme" || o.RequestID != "r" || o.RequestedAt != req.RequestedAt ||
		o.ScheduledAt != req.ScheduledAt || o.CampaignID != "c" || o.Reason != "why" || o.Metadata["a"] != "b" {
		t.Errorf("echo: %+v", o)
	}
	if string(o.Key) != "u-1" || o.Record != rec.ID() || o.TraceParent != "00-1" || o.TraceState != "a=1" {
		t.Errorf("record: key %s, %+v, %q, %q", o.Key, o.Record, o.TraceParent, o.TraceState)
	}
	if s := o.Source; s.Topic != rec.Topic || s.Partition != 3 || s.Offset != 1205 || s.Timestamp != "2026-01-30T17:21:09.114Z" || s.Value != nil {
		t.Errorf("source: %+v", s)
	}
	req.Batch = true
	if o := NewOutcome(rec, req, "cluster"); o.BatchID != "U-1" || o.UMID != "" || string(o.Key) != "u-1" {
		t.Errorf("batch: %+v", o)
	}
}

func TestARejectedOutcomeKeepsWhatTheRecordWas(t *testing.T) {
	rec := record(strings.Repeat("x", maxSourceValue))
	o := RejectedOutcome(rec, &Rejection{Field: "umid", Reason: "is missing", Partial: &Request{RequestID: "r", CampaignID: "c"}}, "cluster")
	if o.Status != StatusRejected || o.Error.Kind != KindInvalidRequest || o.Error.Message != "umid: is missing" || o.Attempts != 0 {
		t.Errorf("got %+v, %+v", o, o.Error)
	}
	if o.RequestID != "r" || o.CampaignID != "c" || string(o.Key) != "the-key" || o.Record != rec.ID() {
		t.Errorf("echo: %+v", o)
	}
	if !bytes.Equal(o.Source.Value, rec.Value) || o.Source.Truncated || o.Source.Key != nil {
		t.Errorf("a value of 16 KiB is kept whole: %d, %v", len(o.Source.Value), o.Source.Truncated)
	}
}

func TestARejectedOutcomeSharesNoMemoryWithItsRecord(t *testing.T) {
	rec := record("value")
	o := RejectedOutcome(rec, &Rejection{Field: "value"}, "cluster")
	clear(rec.Value)
	clear(rec.Key)
	if string(o.Source.Value) != "value" || string(o.Key) != "the-key" {
		t.Errorf("the outcome changed with the record: %q, %q", o.Source.Value, o.Key)
	}
}

func TestARejectedOutcomeHasARequestIDInAnyCase(t *testing.T) {
	if o := RejectedOutcome(record(""), &Rejection{Field: "value", Reason: "is empty"}, "cluster"); o.RequestID != "sms.cancel.requests/3/1205" {
		t.Errorf("got %q", o.RequestID)
	}
}

func TestARejectedValueIsCutAt16KiB(t *testing.T) {
	o := RejectedOutcome(record(strings.Repeat("x", maxSourceValue+1)), &Rejection{Field: "value"}, "cluster")
	if len(o.Source.Value) != maxSourceValue || !o.Source.Truncated {
		t.Errorf("got %d bytes, truncated %v", len(o.Source.Value), o.Source.Truncated)
	}
}

func TestARejectedKeyOver1KiBIsLeftOutAndItsBeginningKept(t *testing.T) {
	for _, c := range []struct{ key, outcomeKey, sourceKey []byte }{
		{nil, nil, nil},
		{[]byte{}, []byte{}, nil},
		{bytes.Repeat([]byte("k"), maxKey), bytes.Repeat([]byte("k"), maxKey), nil},
		{bytes.Repeat([]byte("k"), maxKey+1), nil, bytes.Repeat([]byte("k"), maxKey)},
	} {
		rec := record("x")
		rec.Key = c.key
		o := RejectedOutcome(rec, &Rejection{Field: "value"}, "cluster")
		if !bytes.Equal(o.Key, c.outcomeKey) || (o.Key == nil) != (c.outcomeKey == nil) || !bytes.Equal(o.Source.Key, c.sourceKey) {
			t.Errorf("key of %d bytes: key %d, source.key %d", len(c.key), len(o.Key), len(o.Source.Key))
		}
	}
}

func TestOnlyFinalAnswersOfTheAPIAnswerDuplicates(t *testing.T) {
	for _, c := range []struct {
		outcome Outcome
		want    bool
	}{
		{Outcome{Status: StatusCancelled}, true},
		{Outcome{Status: StatusNotCancelled}, true},
		{Outcome{Status: StatusFailed, Error: &Error{Kind: KindInvalidRequest, HTTPStatus: 400}}, true},
		{Outcome{Status: StatusFailed, Error: &Error{Kind: KindInvalidRequest}}, false}, // ours, not the API's
		{Outcome{Status: StatusFailed, Error: &Error{Kind: KindNotFound}}, false},
		{Outcome{Status: StatusFailed, Error: &Error{Kind: KindTimeout}}, false},
		{Outcome{Status: StatusFailed}, false},
		{Outcome{Status: StatusDuplicate}, false},
		{Outcome{Status: StatusExpired, Error: &Error{Kind: KindInvalidRequest}}, false},
		{Outcome{Status: StatusRejected, Error: &Error{Kind: KindInvalidRequest}}, false},
	} {
		if got := c.outcome.AnswersDuplicates(); got != c.want {
			t.Errorf("%s, %+v: %v", c.outcome.Status, c.outcome.Error, got)
		}
	}
}

func TestEveryTimestampIsWrittenAsRFC3339(t *testing.T) {
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{recordTime.In(time.FixedZone("", 3600)), "2026-01-30T17:21:09.114Z"},
		{time.UnixMilli(-1), "1969-12-31T23:59:59.999Z"},
		{time.UnixMilli(math.MaxInt64), "9999-12-31T23:59:59.999Z"},
		{time.UnixMilli(math.MinInt64), "0000-01-01T00:00:00.000Z"},
	} {
		if got := FormatTime(c.at); got != c.want || !rfc3339.MatchString(got) {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestOutcomeIDsAreVersion5UUIDs(t *testing.T) {
	for n := range 300 { // around the room on the stack
		topic := strings.Repeat("t", n)
		want := uuid.NewSHA1(outcomeNamespace, fmt.Appendf(nil, "cluster/%s/3/%d/%d", topic, n, -n)).String()
		if got := OutcomeID("cluster", topic, 3, int64(n), time.UnixMilli(int64(-n))); got != want {
			t.Fatalf("topic of %d bytes: %s, want %s", n, got, want)
		}
	}
}
