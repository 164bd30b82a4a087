package producer

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"smscancel/worker"
	"smscancel/worker/dedupe"
)

func TestEntryHeaderTellsAReplayWhatTheOutcomeSays(t *testing.T) {
	count := func(n int) func(*worker.Outcome) {
		return func(o *worker.Outcome) {
			o.Status, o.CancelledCount = worker.StatusCancelled, &n
			if n == 0 {
				o.Status = worker.StatusNotCancelled
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*worker.Outcome)
		answer dedupe.Answer
	}{
		"cancelled":     {count(1), dedupe.CancelledOne},
		"not cancelled": {count(0), dedupe.NotCancelled},
		"seven of them": {count(7), dedupe.ReadBack},
		"failed":        {func(o *worker.Outcome) { o.Status, o.CancelledCount = worker.StatusFailed, nil }, dedupe.None},
		"refused for good": {func(o *worker.Outcome) {
			o.Status, o.CancelledCount, o.Error = worker.StatusFailed, nil, &worker.Error{Kind: worker.KindInvalidRequest, HTTPStatus: 400}
		}, dedupe.ReadBack},
		"batch": {func(o *worker.Outcome) { o.UMID, o.BatchID = "", o.UMID }, dedupe.CancelledOne},
	} {
		o := outcomeAt(3, 70)
		o.Record.Hash = 0xdeadbeef
		c.change(o)
		e, err := parseEntry(encodeEntry(12, source{topic: "sms.cancel-requests_1", partition: 3}, o), o.Key)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		target := worker.Target{SubAccountID: "acme_shop", ID: "umid-70", Batch: o.BatchID != ""}
		if e.partitions != 12 || string(e.topic) != "sms.cancel-requests_1" || e.partition != 3 || e.record != o.Record ||
			e.answer != c.answer || e.target != target {
			t.Errorf("%s: came back as %+v", name, e)
		}
	}
}

// A rejected record has no target: its outcome answers nobody, whatever its key.
func TestRejectedOutcomeIsReplayedWithoutATarget(t *testing.T) {
	o := worker.RejectedOutcome(requestAt(0, 1), &worker.Rejection{Field: "value", Reason: "is empty"}, "c")
	e, err := parseEntry(encodeEntry(1, source{topic: "r"}, o), []byte("a key"))
	if err != nil || e.record != o.Record || e.answer != dedupe.None || e.target != (worker.Target{}) {
		t.Errorf("came back as %+v, %v", e, err)
	}
}

// Brokers keep whatever timestamp a producer gave, -1 ("none") included. If a
// replay could not read such an entry, its record would get a second outcome.
func TestEveryTimestampSurvivesTheEntryHeader(t *testing.T) {
	for _, ms := range []int64{-1, 0, 1, -62_135_596_800_001, math.MinInt64 / 2, math.MaxInt64} {
		o := outcomeAt(0, 5)
		o.Record = (&worker.Record{Offset: 5, Timestamp: time.UnixMilli(ms)}).ID()
		e, err := parseEntry(encodeEntry(1, source{topic: "r"}, o), o.Key)
		if err != nil || e.record != o.Record {
			t.Errorf("timestamp %d: came back as %+v, %v", ms, e.record, err)
		}
	}
}

func TestEntriesOfLaterVersionsAreRead(t *testing.T) {
	later := "2 4 requests 1 17 1700000000000 0000beef q m acme_shop more fields=1"
	e, err := parseEntry([]byte(later), []byte("k"))
	if err != nil || e.record.Offset != 17 || e.target.SubAccountID != "acme_shop" || e.answer != dedupe.ReadBack {
		t.Errorf("came back as %+v, %v; an unknown answer must be read back", e, err)
	}
	other := "2 4 requests 1 17 1700000000000 0000beef 1 t acme_shop"
	e, err = parseEntry([]byte(other), []byte("k"))
	if err != nil || e.record.Offset != 17 || e.target != (worker.Target{}) || e.answer != dedupe.None {
		t.Errorf("came back as %+v, %v; an unknown kind must answer nobody", e, err)
	}
}

func TestMalformedEntriesAreNoOutcomes(t *testing.T) {
	for _, header := range []string{
		"", " ", "1", "1 4 r 0 1 2 00000003 - m", "1 4 r 0 1 2 00000003 - m ", "1 x r 0 1 2 00000003 - m s",
		"1 4  0 1 2 00000003 - m s", "1 4 r -1 1 2 00000003 - m s", "1 4 r 0 -1 2 00000003 - m s",
		"1 4 r 0 1 2 1ffffffff - m s", "1 4 r 0 1 2 00000003 -- m s", "1 4 r 0 1 2 00000003 - mm s", " 4 r 0 1 2 00000003 - m s",
		"1 4 r 0 9223372036854775808 2 00000003 - m s",
	} {
		if e, err := parseEntry([]byte(header), nil); err == nil {
			t.Errorf("%q was read as %+v", header, e)
		}
	}
}

// A replay reads its entries with one reader, which keeps what they share.
func TestAnEntryIsReadAsIfItWereTheFirst(t *testing.T) {
	heads := []string{"1 4 requests 1", "1 4 requests 12", "1 4 requests 1 ", "1 4 request 1 ", "2 4 requests 1 ", "1 8 requests 1 ", "1 4 requests 12 ", "1 4 a.longer.topic 3 ", "1 4 requests x "}
	tails := []string{"17 1700000000000 0000beef 1 m acme_shop", "18 1700000000001 0000beef 0 b acme_shop", "19 -1 0000beef - - -", "20 5 0 r m other_shop more", "21"}
	d, r := rand.New(rand.NewPCG(1, 1)), new(entryReader)
	for range 20_000 {
		header := heads[d.IntN(len(heads))] + tails[d.IntN(len(tails))]
		key := []byte(strings.Repeat("k", d.IntN(100)))
		want, wantErr := parseEntry([]byte(header), bytes.Clone(key))
		got, err := r.parse([]byte(header), key)
		clear(key) // the page's memory is used again
		if (err == nil) != (wantErr == nil) || !equal(got, want) {
			t.Fatalf("%q was read as %+v, %v; alone as %+v, %v", header, got, err, want, wantErr)
		}
	}
}
