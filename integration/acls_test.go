package integration

import (
	"fmt"
	"testing"
	"time"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// Fault: one permission after the other is taken away while requests flow, and
// given back; only the first in a short run. Promise: the worker is unready and
// names what it may not do. Without
// WRITE on the outcome topic no call starts; every call that was made keeps its
// outcome, so of 500 requests a permission each has its one outcome and one call,
// and none is ambiguous. It heals by itself.
func TestAPermissionLostWhileRequestsFlowStopsCallsAndHeals(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const batch = 500
	w, secured := secureWorld(t, 2, kafkatest.Options{})
	needed := w.permissions()
	for _, p := range needed {
		w.cluster.Allow(kafkaUser, p.acl)
	}
	if err := w.sim.SetFaults(simulator.Faults{Latency: simulator.Latency{Fixed: 20 * time.Millisecond}}); err != nil {
		t.Fatal(err)
	}
	r := w.startAt(secured, "worker", append(w.securityFlags("scram-sha-512", kafkaUser, kafkaPassword), "--concurrency", "10")...)
	w.waitRunning(r)
	total := 0
	for _, lost := range []struct {
		name  string
		index int // in permissions
		long  bool
		says  []string
	}{
		{name: "WRITE on the outcome topic", index: 1, says: []string{"write to topic " + w.outcomes, "Topic Authorization Failed"}},
		{name: "READ on the request topic", index: 2, says: []string{"requests cannot be read", "fetch " + w.requests}, long: true}, // Kafka hides it: error 3,
		{name: "READ on the group", index: 3, says: []string{"Group Authorization Failed"}, long: true},
	} {
		if lost.long && !longRun {
			continue
		}
		w.ask(total, batch)
		total += batch
		w.awaitCalls(int64(total) - batch*3/4)
		w.cluster.Revoke(kafkaUser, needed[lost.index].acl)
		w.waitUnready(r, lost.says...)
		if lost.index == 1 {
			w.checkNoCallStarts(r, total)
			total += 10
		}
		w.cluster.Allow(kafkaUser, needed[lost.index].acl)
		w.waitForOutcomes(total)
		w.waitReady(r)
		w.waitSettled(r)
	}
	r.stop()
	if found := w.audit(); found.calls != total || found.unclear != 0 {
		t.Errorf("%d calls for %d messages, %d ambiguous", found.calls, total, found.unclear)
	}
}

// checkNoCallStarts asks for 10 messages more, numbered from a number on, of a
// worker that cannot write outcomes.
func (w *world) checkNoCallStarts(r *replica, from int) {
	w.t.Helper()
	w.eventually("all partitions to stop", func() error {
		s, err := r.status()
		for _, p := range s.Partitions {
			if err == nil && p.Reason == "" {
				err = fmt.Errorf("partition %d is well", p.Partition)
			}
		}
		return err
	})
	var calls int64
	if err := w.sim.Await(within(w.t), func(s simulator.Summary) bool { calls = s.Calls; return s.InProgress == 0 }); err != nil {
		w.t.Fatal(err)
	}
	w.ask(from, 10)
	w.eventually("the new requests to be read", func() error {
		if n := r.metric("smscancel_requests_total"); n < float64(from+10) {
			return errNotYet
		}
		return nil
	})
	if n := w.sim.Summary().Calls; n != calls {
		w.t.Errorf("%d calls while no outcome could be written", n-calls)
	}
}
