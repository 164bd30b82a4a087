package producer

import (
	"bytes"
	"regexp"
	"testing"

	"smscancel/worker"
	"smscancel/worker/dedupe"
)

// FuzzParseEntry reads any header of a ledger record. What is no entry is an
// error, since leaving an outcome out could settle a request twice; an entry
// without a target answers nobody; and one whose answer we know says the same
// when it is written again.
func FuzzParseEntry(f *testing.F) {
	f.Fuzz(func(t *testing.T, header, key []byte) {
		e, err := parseEntry(header, key)
		if err != nil {
			if e.topic != nil || e.target != (worker.Target{}) || e.answer != dedupe.None {
				t.Fatalf("%q: %+v and %v", header, e, err)
			}
			return
		}
		if e.partitions < 0 || e.partition < 0 || e.record.Offset < 0 || len(e.topic) == 0 || e.answer > dedupe.CancelledOne {
			t.Fatalf("%q was read as %+v", header, e)
		}
		if e.target == (worker.Target{}) && e.answer != dedupe.None {
			t.Fatalf("%q answers for nobody: %+v", header, e)
		}
		if e.target != (worker.Target{}) && (e.target.ID != string(key) || e.target.SubAccountID == "") {
			t.Fatalf("%q with key %q is about %+v", header, key, e.target)
		}
		if e.target.Batch && e.target.ID == "" {
			return // never written: a batch has an id
		}
		s := source{topic: string(e.topic), partition: e.partition}
		again, err := parseEntry(encodeEntry(e.partitions, s, outcomeLike(e)), key)
		if err != nil || !equal(again, e) {
			t.Fatalf("%+v became %+v, %v", e, again, err)
		}
	})
}

// outcomeLike is an outcome that has the given entry.
func outcomeLike(e entry) *worker.Outcome {
	o := &worker.Outcome{Record: e.record, SubAccountID: e.target.SubAccountID, UMID: e.target.ID, Status: worker.StatusFailed}
	if e.target.Batch {
		o.UMID, o.BatchID = "", e.target.ID
	}
	count := map[dedupe.Answer]int{dedupe.NotCancelled: 0, dedupe.CancelledOne: 1, dedupe.ReadBack: 2}
	if n, answers := count[e.answer]; answers {
		o.Status, o.CancelledCount = worker.StatusCancelled, &n
	}
	if o.CancelledCount != nil && *o.CancelledCount == 0 {
		o.Status = worker.StatusNotCancelled
	}
	if e.target == (worker.Target{}) {
		o.Status = worker.StatusRejected
	}
	return o
}

func equal(a, b entry) bool {
	topics := bytes.Equal(a.topic, b.topic)
	a.topic, b.topic = nil, nil
	return topics && a.partitions == b.partitions && a.partition == b.partition && a.record == b.record && a.answer == b.answer && a.target == b.target
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// FuzzEntry writes the entry of any outcome. It is read back as it was, with
// further fields behind it or not, whatever the record's timestamp.
func FuzzEntry(f *testing.F) {
	f.Fuzz(func(t *testing.T, topic string, partitions, partition int32, offset, timestamp int64, hash uint32, sub, id string, batch bool, count int16, rejected bool) {
		if !topicName.MatchString(topic) {
			topic = "requests"
		}
		if rec := (worker.Record{Value: []byte(`{"umid":"` + id + `","subAccountId":"` + sub + `"}`)}); id == "" || sub == "" {
			return
		} else if _, err := (worker.Parser{}).Parse(&rec); err != nil {
			return // no outcome has such ids, but for a rejected one, whose entry has none
		}
		want := entry{partitions: int(max(partitions, 1)), topic: []byte(topic), partition: int(max(partition, 0)),
			record: worker.RecordID{Offset: max(offset, 0), Timestamp: timestamp, Hash: hash}}
		if !rejected {
			want.target = worker.Target{SubAccountID: sub, ID: id, Batch: batch}
			want.answer = map[int16]dedupe.Answer{0: dedupe.NotCancelled, 1: dedupe.CancelledOne}[count]
			if count > 1 {
				want.answer = dedupe.ReadBack
			}
		}
		header := encodeEntry(want.partitions, source{topic: topic, partition: want.partition}, outcomeLike(want))
		for _, later := range []string{"", " ", " more fields=1"} {
			got, err := parseEntry(append(bytes.Clone(header), later...), []byte(id))
			if err != nil || !equal(got, want) {
				t.Fatalf("%q: %+v became %+v, %v", header, want, got, err)
			}
		}
	})
}
