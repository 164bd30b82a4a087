package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// transaction is one that a producer of requests has begun.
type transaction struct {
	w      *world
	client *kgo.Client
}

// transact publishes requests in a transaction and leaves it open.
func (w *world) transact(umids ...string) *transaction {
	w.t.Helper()
	client := w.client(
		kgo.TransactionalID(w.requests+"-"+umids[0]),
		kgo.TransactionTimeout(10*time.Minute), // or the broker aborts it on a slow machine
	)
	if err := client.BeginTransaction(); err != nil {
		w.t.Fatalf("begin a transaction: %v", err)
	}
	w.produce(client, w.requestsFor(umids...)...)
	return &transaction{w, client}
}

// end commits the transaction or rolls it back.
func (x *transaction) end(how kgo.TransactionEndTry) {
	x.w.t.Helper()
	if err := x.client.EndTransaction(within(x.w.t), how); err != nil {
		x.w.t.Fatalf("end a transaction: %v", err)
	}
}

// Fault: transactions of a producer are rolled back, one of them long after
// its requests were written. Promise: requests of committed transactions have
// one outcome, from the commit on; the others are never acted on.
func TestRequestsOfAnAbortedTransactionAreNeverActedOn(t *testing.T) {
	kafkatest.Require(t)
	w := newWorld(t, kafkatest.Shared(t), 2, simulator.Options{})
	both := func(from int) []string { return append(w.umidsIn(0, from, 8), w.umidsIn(1, from, 8)...) }

	before := w.start("before")
	w.waitRunning(before)
	first, dropped, second := both(0), both(1_000), both(2_000)
	w.transact(first...).end(kgo.TryCommit)
	w.transact(dropped...).end(kgo.TryAbort)
	w.transact(second...).end(kgo.TryCommit)
	w.waitForOutcomes(len(first) + len(second))

	late, never := w.umidsIn(0, 3_000, 8), w.umidsIn(0, 4_000, 8)
	committedLate, abortedLate := w.transact(late...), w.transact(never...)
	behind := w.umidsIn(0, 5_000, 4) // not transactional, and yet to be seen only once both have ended
	w.produce(w.client(), w.requestsFor(behind...)...)
	w.waitSeen(before)
	elsewhere := w.umidsIn(1, 6_000, 1)
	w.produce(w.client(), w.requestsFor(elsewhere...)...)
	w.waitForOutcomes(len(first) + len(second) + len(elsewhere))
	if n := callsOf(w.sim, slices.Concat(late, never, behind)); n != 0 {
		t.Errorf("%d calls for requests behind open transactions", n)
	}
	committedLate.end(kgo.TryCommit)
	abortedLate.end(kgo.TryAbort)
	trailing := both(7_000)
	w.transact(trailing...).end(kgo.TryAbort) // the topic ends with what is no request
	kept := len(first) + len(second) + len(elsewhere) + len(late) + len(behind)
	w.waitForOutcomes(kept)
	w.waitSettled(before)
	before.stop()
	for p, end := range w.ends(w.requests) {
		if at := w.commits()[p].At; at != end {
			t.Errorf("partition %d is committed up to %d, its end is %d", p, at, end)
		}
	}

	after := w.start("after")
	w.waitRunning(after)
	w.produce(w.client(), w.requestsFor(both(8_000)...)...)
	kept += len(both(8_000))
	w.waitForOutcomes(kept)
	w.waitSettled(after)
	after.stop()
	audited := w.audit()
	if len(audited.outcomes) != kept || audited.calls != kept {
		t.Errorf("%d outcomes and %d calls for %d committed requests", len(audited.outcomes), audited.calls, kept)
	}
	if n := callsOf(w.sim, slices.Concat(dropped, never, trailing)); n != 0 {
		t.Errorf("%d calls for requests of aborted transactions", n)
	}
}

// waitSeen waits until a worker has fetched from the request topic since its
// last record was written.
func (w *world) waitSeen(r *replica) {
	w.t.Helper()
	ends := w.ends(w.requests)
	w.eventually("the end of the topic to be seen", func() error {
		s, err := r.status()
		if err != nil {
			return err
		}
		for _, p := range s.Partitions {
			if p.End < ends[p.Partition] {
				return fmt.Errorf("partition %d ends at %d, the worker has seen %d", p.Partition, ends[p.Partition], p.End)
			}
		}
		return nil
	})
}
