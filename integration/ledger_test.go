package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
	"smscancel/worker"
)

// writeLedger is for a new version of the ledger only, in a directory of its
// own: what stands in testdata is what workers out there have written.
var writeLedger = flag.Bool("write-ledger", false, "write "+ledgerV1+" from a real run before it is read")

const ledgerV1 = "testdata/ledger-v1"

// keptLedger describes a ledger that is kept as test data. Its records stand
// in requests.ndjson and outcomes.ndjson, one a line, in the order of their
// partitions and offsets.
type keptLedger struct {
	About             string `json:"about"`
	ClusterID         string `json:"clusterId"` // outcome ids depend on it
	RequestTopic      string `json:"requestTopic"`
	RequestPartitions int    `json:"requestPartitions"`
	OutcomeTopic      string `json:"outcomeTopic"`
	OutcomePartitions int    `json:"outcomePartitions"`
}

// keptRecord is one record as it stood in its topic. Bytes are base64.
type keptRecord struct {
	Partition int32        `json:"partition"`
	Offset    int64        `json:"offset"`
	Timestamp int64        `json:"timestamp"` // Unix milliseconds
	Key       []byte       `json:"key"`       // null for none
	Value     []byte       `json:"value"`     // null for a tombstone
	Headers   []keptHeader `json:"headers"`
}

type keptHeader struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// Promise: a ledger that the first version wrote answers for its requests
// still: no call and no outcome for any of them, and a new request for the
// same message is a duplicate of the outcome that stands there.
func TestALedgerOfTheFirstVersionIsReplayed(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	if *writeLedger {
		writeLedgerV1(t)
	}
	var kept keptLedger
	readJSON(t, filepath.Join(ledgerV1, "ledger.json"), &kept)
	cluster := kafkatest.Start(t, kafkatest.Options{Env: map[string]string{"CLUSTER_ID": kept.ClusterID}})
	w := newWorld(t, cluster, kept.RequestPartitions, simulator.Options{})
	w.useLedger(kept)
	w.loadRequests(readRecords(t, "requests"))
	w.loadOutcomes(readRecords(t, "outcomes"))
	old := w.readOutcomes()

	r := w.start("heir", "--dedupe-window", "438000h") // 50 years
	w.waitRunning(r)
	w.waitSettled(r)
	if n := len(w.sim.Calls()); n != 0 {
		t.Errorf("%d calls for requests that have an outcome", n)
	}
	if n := w.countOutcomes(); n != len(old) {
		t.Errorf("%d outcomes became %d", len(old), n)
	}
	if n := r.metric("smscancel_skipped_requests_total"); n != float64(len(old)) {
		t.Errorf("%v of %d requests are counted as skipped", n, len(old))
	}

	answers := answersOf(old)
	again := w.duplicatesOf(old)
	w.produce(w.client(), again...)
	w.waitForOutcomes(len(old) + len(again))
	r.stop()
	all := w.readOutcomes()
	called := 0
	for _, record := range again {
		o := all[at(record)].outcome
		if o == nil {
			t.Fatalf("no outcome for %s", record.Value)
		}
		called += o.Attempts
		checkAnswer(t, o, answers[o.SubAccountID+" "+string(record.Key)])
	}
	if n := len(w.sim.Calls()); n != called {
		t.Errorf("%d calls, outcomes report %d", n, called)
	}
	for kind, n := range countAnswers(answers) {
		if n == 0 {
			t.Errorf("the ledger holds no %s: it proves too little", kind)
		}
	}
}

// useLedger gives the topics the names that stand in the kept ledger.
func (w *world) useLedger(kept keptLedger) {
	w.requests, w.outcomes = kept.RequestTopic, kept.OutcomeTopic
	w.parts, w.n = kept.RequestPartitions, kept.OutcomePartitions
	forEver := map[string]string{"retention.ms": "-1", "message.timestamp.type": "CreateTime"}
	w.cluster.CreateTopic(w.requests, kept.RequestPartitions, forEver)
	w.cluster.CreateTopic(w.outcomes, kept.OutcomePartitions, forEver)
	if kept.RequestPartitions%kept.OutcomePartitions == 0 {
		w.t.Fatal("a kept ledger shows more with partitions that share one unevenly")
	}
}

// loadRequests writes the requests to the offsets that they had. Where control
// markers and aborted transactions stood, others take their place.
func (w *world) loadRequests(kept []keptRecord) {
	w.t.Helper()
	plain := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	inTransaction := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("load"))
	for i, k := range kept {
		next := map[int32]int64{} // where the record before this one leaves its partition
		if i > 0 {
			next[kept[i-1].Partition] = kept[i-1].Offset + 1
		}
		if gap := k.Offset - next[k.Partition]; gap > 1 {
			w.fill(inTransaction, k.Partition, gap)
		} else if gap == 1 && k.Offset == 1 {
			w.t.Fatal("a marker alone at the beginning of a partition cannot be rebuilt")
		}
		record := k.record(w.requests)
		if followedByMarker(kept, i) {
			w.inTransaction(inTransaction, kgo.TryCommit, record)
		} else {
			w.produce(plain, record)
		}
		if record.Offset != k.Offset {
			w.t.Fatalf("the request of offset %d in partition %d came to stand at %d", k.Offset, k.Partition, record.Offset)
		}
	}
}

// followedByMarker tells whether exactly one offset is missing after a record:
// the marker of the transaction that it ended.
func followedByMarker(kept []keptRecord, i int) bool {
	return i+1 < len(kept) && kept[i+1].Partition == kept[i].Partition && kept[i+1].Offset-kept[i].Offset == 2
}

// fill takes up offsets with an aborted transaction, the last with its marker.
func (w *world) fill(client *kgo.Client, partition int32, gap int64) {
	w.t.Helper()
	records := make([]*kgo.Record, gap-1)
	for i := range records {
		records[i] = &kgo.Record{Topic: w.requests, Partition: partition, Value: []byte("filler")}
	}
	w.inTransaction(client, kgo.TryAbort, records...)
}

// inTransaction writes records of one partition and returns when the marker
// stands behind them.
func (w *world) inTransaction(client *kgo.Client, how kgo.TransactionEndTry, records ...*kgo.Record) {
	w.t.Helper()
	if err := client.BeginTransaction(); err != nil {
		w.t.Fatalf("begin a transaction: %v", err)
	}
	w.produce(client, records...)
	(&transaction{w, client}).end(how)
	last := records[len(records)-1]
	w.eventually("the marker", func() error { // it is written after the transaction's end is acknowledged
		if end := w.ends(last.Topic)[int(last.Partition)]; end < last.Offset+2 {
			return fmt.Errorf("partition %d ends at %d", last.Partition, end)
		}
		return nil
	})
}

// loadOutcomes writes the outcomes in the order that they had. Nothing depends
// on their offsets.
func (w *world) loadOutcomes(kept []keptRecord) {
	w.t.Helper()
	records := make([]*kgo.Record, len(kept))
	for i, k := range kept {
		records[i] = k.record(w.outcomes)
	}
	w.produce(w.client(kgo.RecordPartitioner(kgo.ManualPartitioner())), records...)
}

func (k keptRecord) record(topic string) *kgo.Record {
	r := &kgo.Record{Topic: topic, Partition: k.Partition, Timestamp: time.UnixMilli(k.Timestamp), Key: k.Key, Value: k.Value}
	for _, h := range k.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return r
}

// duplicatesOf asks once more for every message and batch that a ledger knows.
func (w *world) duplicatesOf(old map[place]found) []*kgo.Record {
	asked := map[string]*kgo.Record{}
	for _, f := range old {
		o := f.outcome
		if o.Status == worker.StatusRejected {
			continue
		}
		field, id := "umid", o.UMID
		if o.BatchID != "" {
			field, id = "batchId", o.BatchID
		}
		asked[o.SubAccountID+" "+strings.ToLower(id)] = &kgo.Record{Topic: w.requests, Key: []byte(strings.ToLower(id)),
			Value: fmt.Appendf(nil, `{%q:%q,"subAccountId":%q}`, field, strings.ToUpper(id), o.SubAccountID)}
	}
	return slices.Collect(maps.Values(asked))
}

// answersOf finds the outcome that answers for each target of a ledger: the
// last one that is the API's final word.
func answersOf(old map[place]found) map[string]*worker.Outcome {
	answers, newest := map[string]*worker.Outcome{}, map[string]int64{}
	for _, f := range old {
		target := f.outcome.SubAccountID + " " + strings.ToLower(f.outcome.UMID+f.outcome.BatchID)
		if f.outcome.AnswersDuplicates() && (answers[target] == nil || f.record.Offset > newest[target]) {
			answers[target], newest[target] = f.outcome, f.record.Offset
		}
	}
	return answers
}

func countAnswers(answers map[string]*worker.Outcome) map[string]int {
	n := map[string]int{"single cancellation": 0, "count of 0": 0, "batch": 0, "refusal": 0}
	for _, o := range answers {
		switch {
		case o.Error != nil:
			n["refusal"]++
		case *o.CancelledCount > 1:
			n["batch"]++
		case *o.CancelledCount == 1:
			n["single cancellation"]++
		default:
			n["count of 0"]++
		}
	}
	return n
}

// checkAnswer compares a new outcome with the old one that must answer it;
// without one, a call must have been made.
func checkAnswer(t *testing.T, o, answer *worker.Outcome) {
	t.Helper()
	if answer == nil {
		if o.Attempts != 1 || o.DuplicateOf != "" {
			t.Errorf("nothing answers for %s%s, but: %+v", o.UMID, o.BatchID, o)
		}
		return
	}
	if o.Status != worker.StatusDuplicate || o.DuplicateOf != answer.OutcomeID || o.Attempts != 0 {
		t.Errorf("%s%s: %s of %q after %d calls, want a duplicate of %s", o.UMID, o.BatchID, o.Status, o.DuplicateOf, o.Attempts, answer.OutcomeID)
	}
	if got, want := mustJSON(t, o.CancelledCount, o.Error, o.Ambiguous), mustJSON(t, answer.CancelledCount, answer.Error, answer.Ambiguous); got != want {
		t.Errorf("%s%s is answered %s, want %s", o.UMID, o.BatchID, got, want)
	}
}

func mustJSON(t *testing.T, values ...any) string {
	t.Helper()
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// writeLedgerV1 makes the test data: a run of the worker as it is now, with
// every kind of outcome, duplicates of them, and transactions.
func writeLedgerV1(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	w := newWorld(t, cluster, 3, simulator.Options{Scenario: requestScenario()})
	kept := keptLedger{
		About:     "Written by version 1 of the ledger and never changed: see TestALedgerOfTheFirstVersionIsReplayed.",
		ClusterID: cluster.ID(), RequestTopic: "ledger-v1.requests", RequestPartitions: 3, OutcomeTopic: "ledger-v1.outcomes", OutcomePartitions: 2,
	}
	w.useLedger(kept)
	r := w.start("writer", "--default-sub-account", "acme_default")
	total := 0
	for i, phase := range [][]requestCase{firstCases(), secondCases()} {
		w.transact(w.umidsIn(i, 8_000+1_000*i, 3)...).end(kgo.TryAbort)
		for _, c := range phase {
			if len(c.value) > 64<<10 {
				c.value = c.value[:100] // a large file would prove no more
			}
			record := &kgo.Record{Topic: w.requests, Value: c.value, Headers: c.headers}
			if c.key != "" {
				record.Key = []byte(c.key)
			}
			w.produce(w.client(), record)
		}
		w.transact(w.umidsIn(2-i, 5_000+1_000*i, 1)...).end(kgo.TryCommit)
		w.produce(w.client(), w.requestsFor(append(w.umidsIn(2-i, 6_500+1_000*i, 4), w.umidsIn(i, 6_500+1_000*i, 4)...)...)...)
		total += len(phase) + 1 + 8
		w.waitForOutcomes(total)
	}
	r.stop()
	w.audit()
	if t.Failed() {
		t.Fatal("nothing was written")
	}
	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(ledgerV1, "ledger.json"), append(text, '\n'))
	writeRecords(t, "requests", readTopic(t, w.brokers, w.requests))
	writeRecords(t, "outcomes", readTopic(t, w.brokers, w.outcomes))
}

func writeRecords(t *testing.T, name string, records []*kgo.Record) {
	t.Helper()
	slices.SortFunc(records, func(a, b *kgo.Record) int {
		if a.Partition != b.Partition {
			return int(a.Partition - b.Partition)
		}
		return int(a.Offset - b.Offset)
	})
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, r := range records {
		k := keptRecord{Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			k.Headers = append(k.Headers, keptHeader{h.Key, h.Value})
		}
		if err := encoder.Encode(k); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(ledgerV1, name+".ndjson"), lines.Bytes())
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func readRecords(t *testing.T, name string) []keptRecord {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(ledgerV1, name+".ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	var records []keptRecord
	lines := bufio.NewScanner(bytes.NewReader(content))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var k keptRecord
		if err := json.Unmarshal(lines.Bytes(), &k); err != nil {
			t.Fatalf("%s, record %d: %v", name, len(records)+1, err)
		}
		records = append(records, k)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return records
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}
