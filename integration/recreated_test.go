package integration

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// Fault: the request topic is deleted and created again under a running worker,
// four times: with fewer and with more records than before, with more and with
// fewer partitions; and once more while no worker runs. The outcomes of the old
// records stay in the ledger. Promise: each of the 300 requests, those at old
// offsets included, has an outcome of its own and one call.
func TestRequestsOfARecreatedTopicHaveTheirOwnOutcomes(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	w := newWorld(t, kafkatest.Shared(t), 2, simulator.Options{})
	r := w.start("worker")
	total := 0
	for _, step := range []struct {
		name           string
		parts, records int
		down           bool // the worker is
	}{
		{name: "first", parts: 2, records: 60},
		{name: "fewer records", parts: 2, records: 20},
		{name: "more records", parts: 2, records: 80},
		{name: "more partitions", parts: 5, records: 60},
		{name: "fewer partitions", parts: 1, records: 40},
		{name: "unseen", parts: 1, records: 40, down: true},
	} {
		if step.down {
			r.stop()
		}
		if total > 0 {
			w.recreate(step.parts)
		}
		w.ask(total, step.records)
		total += step.records
		if step.down {
			r = w.start(step.name)
		}
		w.eventually(step.name, func() error {
			if n := w.countOutcomes(); n != total {
				return fmt.Errorf("%d outcomes of %d", n, total)
			}
			return nil
		})
		w.waitSettled(r)
	}
	r.stop()
	if found := w.audit(); found.calls != total || found.unclear != 0 {
		t.Errorf("%d calls for %d messages, %d ambiguous", found.calls, total, found.unclear)
	}
}

// Fault: the request topic is deleted, created again and filled beyond the old
// offsets while no fetch is under way that could notice: the worker is paused
// with its window full. Promise: each of the 60 old requests, which it had read,
// and of the 120 new ones has its own outcome and one call.
func TestNothingIsSkippedWhenATopicIsRecreatedUnseen(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const old, fresh = 60, 120
	w := newWorld(t, kafkatest.Shared(t), 1, slow(100*time.Millisecond))
	w.ask(0, old) // all in one fetch
	r := w.start("worker", "--window", "10")
	w.waitForOutcomes(10)
	r.signal(syscall.SIGSTOP)
	if n := w.countOutcomes(); n > old-10 {
		t.Fatalf("%d of %d requests are settled: the window is not full any more", n, old)
	}
	w.recreate(1)
	w.ask(old, fresh)
	r.signal(syscall.SIGCONT)
	w.waitForOutcomes(old + fresh)
	r.stop()
	if found := w.audit(); found.calls != old+fresh {
		t.Errorf("%d calls for %d messages", found.calls, old+fresh)
	}
}

// recreate deletes the request topic, whose requests all have or will have an
// outcome, and creates it again.
func (w *world) recreate(partitions int) {
	w.t.Helper()
	w.deleted = append(w.deleted, readTopic(w.t, w.brokers, w.requests)...)
	if _, err := w.admin().DeleteTopic(within(w.t), w.requests); err != nil {
		w.t.Fatalf("delete %s: %v", w.requests, err)
	}
	w.eventually(w.requests+" to be created", func() error { // its name may still be about to become free
		_, err := w.admin().CreateTopic(within(w.t), int32(partitions), 1, nil, w.requests)
		return err
	})
	w.eventually("its leaders", func() error {
		listed, err := w.admin().ListEndOffsets(within(w.t), w.requests)
		return errors.Join(err, listed.Error())
	})
	w.parts = partitions
}

// ask publishes one request each for n messages, numbered from a number on.
func (w *world) ask(from, n int) []*kgo.Record {
	w.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = umid(from + i)
	}
	requests := w.requestsFor(ids...)
	w.produce(w.client(), requests...)
	return requests
}
