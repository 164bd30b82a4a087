package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
	"smscancel/worker"
)

// look runs `outcomes` or `redrive` on the test's topics and returns what it shows.
func (w *world) look(want int, args ...string) string {
	w.t.Helper()
	c := w.command(append(args, "--request-topic", w.requests, "--outcome-topic", w.outcomes, "--group", w.group)...)
	if code := w.run(c); code != want {
		w.t.Errorf("%v: exit code %d, want %d:\n%s", args, code, want, c.output.String())
	}
	return c.output.String()
}

func (w *world) shows(shown string, parts ...string) {
	w.t.Helper()
	for _, part := range parts {
		if !strings.Contains(shown, part) {
			w.t.Errorf("%q is not in what is shown:\n%s", part, shown)
		}
	}
}

// Fault: the API does not know 5 of 40 messages at first; 4 requests are in a
// transaction that is rolled back. Promise: the summary, the audit and the redrive
// say so; a second redrive sends nothing, before and after the first is settled;
// the checker finds no rule broken in what they left behind.
func TestOutcomesAreAuditedAndWhatFailedIsRedriven(t *testing.T) {
	kafkatest.Require(t)
	const total, unknown = 40, 5
	rules := map[string]simulator.MessageRule{}
	for i := range unknown {
		rules[umid(i)] = simulator.MessageRule{Answers: []simulator.Answer{{Status: 404}}}
	}
	w := newWorld(t, kafkatest.Shared(t), 3, simulator.Options{Scenario: &simulator.Scenario{Messages: rules}})
	r := w.start("worker")
	w.waitRunning(r)
	requests := make([]map[string]any, total)
	for i := range requests {
		requests[i] = map[string]any{"umid": umid(i), "subAccountId": "acme_shop", "campaignId": "autumn-sale"}
	}
	w.transact(w.umidsIn(0, 1_000, 4)...).end(kgo.TryAbort)
	w.publish(requests...)
	w.waitForOutcomes(total)
	w.shows(w.look(0, "outcomes", "--summary", "--campaign", "autumn-sale"), "cancelled      35\n", "failed  not_found   404   1300  5\n", "autumn-sale  40         40       0          -\n")
	w.shows(w.look(0, "outcomes", "--verify", "--allow-pending"), "40 requests, 40 outcomes: 0 lost, ", " 0 second, 0 foreign")

	w.shows(w.look(0, "redrive", "--kind", "not_found", "--dry-run"), "would send 5 requests\n")
	r.stop() // what is redriven stays pending
	w.shows(w.look(0, "redrive", "--kind", "not_found"), "sent 5 requests\n")
	w.shows(w.look(0, "redrive", "--kind", "not_found"), "sent 0 requests\n", "skipped 5: it is redriven already")
	w.shows(w.look(1, "outcomes", "--verify"), "45 requests, 40 outcomes: 0 lost, 5 pending, 0 second, 0 foreign")
	r = w.start("worker-again")
	w.waitForOutcomes(total + unknown)
	w.waitSettled(r)
	r.stop()
	w.shows(w.look(0, "redrive"), "sent 0 requests\n")
	w.shows(w.look(0, "outcomes", "--verify"), "45 requests, 45 outcomes: 0 lost, 0 pending, 0 second, 0 foreign")
	if found := w.audit(); found.calls != total+unknown || found.byStatus[worker.StatusCancelled] != total {
		t.Errorf("%d calls, %v", found.calls, found.byStatus)
	}
}

// Fault: of many requests whose outcomes are written by hand, one has none and
// another one has two. Promise: the audit names these two, and its memory is a few
// bytes a request. SMSCANCEL_OUTCOMES is how many there are.
func TestAnAuditOfManyNamesTheFewThatAreWrong(t *testing.T) {
	kafkatest.Require(t)
	total := number("SMSCANCEL_OUTCOMES", 20_000)
	w := newWorld(t, kafkatest.Shared(t), 6, simulator.Options{})
	w.writePairs(total)
	c := w.command("outcomes", "--verify", "--request-topic", w.requests, "--outcome-topic", w.outcomes, "--group", w.group)
	if code := w.run(c); code != 1 {
		t.Errorf("exit code %d", code)
	}
	w.shows(c.output.String(), fmt.Sprintf("%d requests, %d outcomes: 0 lost, 1 pending, 1 second, 0 foreign", total, total))
	verified, peak := c.took, c.peak
	if limit := 300 + float64(total)/50_000; peak > limit {
		t.Errorf("%.0f MiB, more than %.0f", peak, limit)
	}
	c = w.command("outcomes", "--summary", "--outcome-topic", w.outcomes)
	if code := w.run(c); code != 0 {
		t.Errorf("exit code %d: %s", code, c.output.String())
	}
	t.Logf("%d requests and outcomes: verified in %s with %.0f MiB, summarised in %s with %.0f MiB", total, verified.Round(time.Millisecond), peak,
		c.took.Round(time.Millisecond), c.peak)
}

// writePairs writes requests and the outcome of each, but none of the first and
// two of the second.
func (w *world) writePairs(total int) {
	w.t.Helper()
	client := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MaxBufferedRecords(100_000))
	requests := make([]*kgo.Record, 0, batchOfPairs)
	for i := 0; i < total; {
		requests = requests[:0]
		for ; len(requests) < batchOfPairs && i < total; i++ {
			requests = append(requests, &kgo.Record{Topic: w.requests, Partition: int32(i % w.parts), Key: []byte(umid(i)),
				Value: fmt.Appendf(nil, `{"umid":%q,"subAccountId":"acme_shop","campaignId":"autumn-sale","reason":"order dropped","metadata":{"order":"A-%d"}}`, umid(i), i)})
		}
		w.produce(client, requests...)
		outcomes := make([]*kgo.Record, 0, len(requests))
		for _, r := range requests {
			outcomes = append(outcomes, w.outcomeOf(r))
		}
		if i == len(requests) { // the first of them
			outcomes[0] = w.outcomeOf(requests[1])
		}
		w.produce(client, outcomes...)
	}
}

const batchOfPairs = 10_000

// outcomeOf is the outcome record that a worker would write for a request.
func (w *world) outcomeOf(r *kgo.Record) *kgo.Record {
	w.t.Helper()
	rec := &worker.Record{Topic: r.Topic, Partition: int(r.Partition), Offset: r.Offset, Timestamp: r.Timestamp.Truncate(time.Millisecond), Key: r.Key, Value: r.Value}
	req, err := worker.Parser{}.Parse(rec)
	if err != nil {
		w.t.Fatal(err)
	}
	o := worker.NewOutcome(rec, req, w.cluster.ID())
	one := 1
	o.Status, o.CancelledCount, o.Attempts, o.CompletedAt = worker.StatusCancelled, &one, 1, worker.FormatTime(time.Now())
	value, headers, err := o.Encode()
	if err != nil {
		w.t.Fatal(err)
	}
	written := &kgo.Record{Topic: w.outcomes, Partition: r.Partition % int32(w.n), Key: o.Key, Value: value}
	for _, h := range append(headers, worker.Header{Key: "smscancel-ledger", Value: fmt.Appendf(nil, "1 %d %s %d %d %d %08x 1 m acme_shop", w.n,
		r.Topic, r.Partition, r.Offset, o.Record.Timestamp, o.Record.Hash)}) {
		written.Headers = append(written.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return written
}
