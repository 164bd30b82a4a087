package integration

import (
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

const saysLost = "retention deleted requests before they were handled"

// Fault: retention overtakes a worker that is stopped, in one of two partitions.
// Promise: the 15 requests that are gone are counted and said once, the other 45
// have their outcome.
func TestRequestsDeletedUnderAStoppedWorkerAreCounted(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	w := newWorld(t, kafkatest.Shared(t), 2, simulator.Options{})
	r := w.start("first")
	w.produce(w.client(), w.requestsFor(w.umidsIn(0, 0, 20)...)...)
	w.waitForOutcomes(20)
	w.waitSettled(r)
	r.stop()
	w.produce(w.client(), w.requestsFor(append(w.umidsIn(0, 1_000, 30), w.umidsIn(1, 0, 10)...)...)...)
	gone := w.deleteBelow(w.requests, 0, 35)
	r = w.start("late")
	w.waitForOutcomes(45)
	w.waitSettled(r)
	w.checkLost(r, 15)
	r.stop()
	w.deleted = w.withOutcome(gone)
	if found := w.audit(); found.calls != 45 {
		t.Errorf("%d calls for 45 messages", found.calls)
	}
}

// Fault: the same, but 19 of the 20 requests that are deleted had their outcome
// when the worker was killed; only the watermark had not passed them. Promise: one
// is lost, and one is counted.
func TestRequestsThatHadTheirOutcomeAreNotLostToRetention(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	w := newWorld(t, kafkatest.Shared(t), 1, simulator.Options{})
	r := w.startAndHoldTheWatermark(20)
	r.kill()
	gone := w.deleteBelow(w.requests, 0, 20)
	r = w.start("heir")
	w.ask(20, 5)
	w.waitForOutcomes(24)
	w.waitSettled(r)
	w.checkLost(r, 1)
	r.stop()
	if n := len(w.withOutcome(gone)); n != 19 || len(w.readOutcomes()) != 24 || w.sim.Summary().Calls != 25 {
		t.Errorf("%d of the deleted requests have their outcome, %d in all, %d calls", n, len(w.readOutcomes()), w.sim.Summary().Calls)
	}
}

// Fault: retention overtakes a worker that runs but is held up, its window full.
// Promise: of 600 requests each has its outcome or is counted as lost; what had
// been read is not lost.
func TestRequestsDeletedUnderASlowWorkerAreCounted(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const total, deleted = 600, 500
	w := newWorld(t, kafkatest.Shared(t), 1, slow(100*time.Millisecond))
	var requests []*kgo.Record
	for n := range total {
		requests = append(requests, w.withNote(n, 3_900)) // more than two fetches take
	}
	w.produce(w.client(kgo.ProducerBatchMaxBytes(100<<10), kgo.ProducerBatchCompression(kgo.NoCompression())), requests...)
	r := w.start("slow", "--window", "10")
	w.awaitCalls(20)
	r.signal(syscall.SIGSTOP)
	gone := w.deleteBelow(w.requests, 0, deleted)
	r.signal(syscall.SIGCONT)
	w.waitSettled(r)
	r.stop()
	kept := w.withOutcome(gone)
	if len(kept) < 100 || len(kept) == deleted {
		t.Fatalf("%d of %d deleted requests had been read: the worker was not overtaken", len(kept), deleted)
	}
	w.checkLog(r, deleted-len(kept))
	w.deleted = kept
	if found := w.audit(); found.calls != len(found.outcomes) || found.unclear != 0 {
		t.Errorf("%d calls, %d outcomes, %d ambiguous", found.calls, len(found.outcomes), found.unclear)
	}
}

// Fault: retention deletes the outcomes of requests that the watermark of a
// killed worker had not passed: nobody can tell any more which of the 20 were
// settled. Promise: none is called again. The partition waits, unready, and says
// to which time the offset must be set; once an operator has done so with Kafka's
// own tool, new requests are handled.
func TestALedgerCutByRetentionCallsNothingTwice(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	w := newWorld(t, kafkatest.Shared(t), 1, simulator.Options{})
	r := w.startAndHoldTheWatermark(20)
	r.kill()
	calls := w.sim.Summary().Calls
	w.deleteBelow(w.outcomes, 0, w.ends(w.outcomes)[0])
	r = w.start("heir")
	w.waitUnready(r, "outcomes of the first requests may have been deleted", "set the offset of group "+w.group+" to ")
	_, reason, err := r.get("/readyz")
	if err != nil {
		t.Fatal(err)
	}
	when := regexp.MustCompile(`to (\S+) or later`).FindStringSubmatch(reason)
	if when == nil {
		t.Fatalf("no time in %q", reason)
	}
	r.stop()
	w.ask(20, 10)
	w.resetOffset(0, "--to-datetime", strings.TrimSuffix(when[1], "Z"))
	r = w.start("again")
	w.waitForOutcomes(10)
	w.waitSettled(r)
	w.waitReady(r)
	r.stop()
	if n := w.sim.Summary().Calls - calls; n != 10 {
		t.Errorf("%d calls for 10 new messages", n)
	}
	if all := w.readOutcomes(); len(all) != 10 {
		t.Errorf("%d new outcomes for 10 new requests", len(all))
	}
}

// startAndHoldTheWatermark starts a worker on n requests, of which all have their
// outcome but the first: its call hangs.
func (w *world) startAndHoldTheWatermark(n int) *replica {
	w.t.Helper()
	hang := simulator.Scenario{Messages: map[string]simulator.MessageRule{umid(0): {Answers: []simulator.Answer{{Hang: simulator.Before}}}}}
	if err := w.sim.Declare(hang); err != nil {
		w.t.Fatal(err)
	}
	w.ask(0, n)
	r := w.start("held", "--attempt-timeout", "1h")
	w.waitForOutcomes(n - 1)
	return r
}

// awaitCalls waits for n calls, and returns at once when the last of them arrives.
func (w *world) awaitCalls(n int64) {
	w.t.Helper()
	if err := w.sim.Await(within(w.t), func(s simulator.Summary) bool { return s.Calls >= n }); err != nil {
		w.t.Fatal(err)
	}
}

// deleteBelow deletes the records of a partition below an offset, as retention
// does, and returns them.
func (w *world) deleteBelow(topic string, partition int, offset int64) []*kgo.Record {
	w.t.Helper()
	var gone []*kgo.Record
	for _, r := range readTopic(w.t, w.brokers, topic) {
		if int(r.Partition) == partition && r.Offset < offset {
			gone = append(gone, r)
		}
	}
	to := kadm.Offsets{}
	to.Add(kadm.Offset{Topic: topic, Partition: int32(partition), At: offset})
	done, err := w.admin().DeleteRecords(within(w.t), to)
	if err == nil {
		err = done.Error()
	}
	if err != nil {
		w.t.Fatalf("delete records of %s: %v", topic, err)
	}
	return gone
}

// withOutcome are those requests that have an outcome.
func (w *world) withOutcome(requests []*kgo.Record) []*kgo.Record {
	w.t.Helper()
	all := w.readOutcomes()
	var settled []*kgo.Record
	for _, r := range requests {
		if all[at(r)].outcome != nil {
			settled = append(settled, r)
		}
	}
	return settled
}

// checkLost compares what a worker counts and says about lost requests.
func (w *world) checkLost(r *replica, want int) {
	w.t.Helper()
	if n := r.metric("smscancel_lost_to_retention_records_total"); n != float64(want) {
		w.t.Errorf("%v requests are counted as lost, want %d", n, want)
	}
	w.checkLog(r, want)
}

// checkLog compares what a worker says about lost requests, in one line.
func (w *world) checkLog(r *replica, want int) {
	w.t.Helper()
	said := 0
	for _, line := range r.lines() {
		message, _ := line["message"].(string)
		if !strings.HasPrefix(message, saysLost) {
			continue
		}
		said++
		if line["records"] != float64(want) {
			w.t.Errorf("%v requests are said to be lost, want %d", line["records"], want)
		}
	}
	if said != 1 {
		w.t.Errorf("it is said %d times that requests are lost", said)
	}
}
