package integration

import (
	"fmt"
	"testing"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// Fault: an operator sets the group's offsets back to the beginning, with each
// kind of metadata that can come along. Promise: no call and no outcome more;
// every record that is skipped is counted.
func TestResettingOffsetsBackwardsRepeatsNothing(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const total, parts = 150, 3
	w := newWorld(t, kafkatest.Shared(t), parts, simulator.Options{})
	r := w.start("first")
	w.publish(batchOf(0, total)...)
	w.waitForOutcomes(total)
	w.waitSettled(r)
	r.stop()
	calls := len(w.sim.Calls())
	beginning := map[int]int64{0: 0, 1: 0, 2: 0}
	for name, metadata := range map[string]string{
		"none":    "",
		"foreign": `{"v":1,"tool":"offsets by hand"}`,
		"stale":   w.commits()[0].Metadata, // of the commit that is replaced, and of one partition for all
	} {
		w.setOffsets(beginning, metadata)
		r := w.start("metadata-" + name)
		w.waitRunning(r)
		w.waitSettled(r)
		if skipped := r.metric("smscancel_skipped_requests_total"); skipped != total {
			t.Errorf("metadata %s: %v of %d settled records are counted as skipped", name, skipped, total)
		}
		if said := r.sum("settledAhead"); said != total {
			t.Errorf("metadata %s: the log speaks of %v settled records, there are %d", name, said, total)
		}
		r.stop()
		if n := w.countOutcomes(); n != total {
			t.Errorf("metadata %s: %d outcomes for %d requests", name, n, total)
		}
		if n := len(w.sim.Calls()); n != calls {
			t.Errorf("metadata %s: %d calls were made again", name, n-calls)
		}
	}
	w.audit()
}

// Fault: an operator sets one partition's offset forward over requests that
// nobody has handled. Promise: those have no outcome and no call, everything
// else goes on; set back again, they are handled, and nothing twice.
func TestResettingOffsetsForwardAbandonsRequestsAndNoMore(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	w := newWorld(t, kafkatest.Shared(t), 2, simulator.Options{})
	r := w.start("first")
	handled := append(w.umidsIn(0, 0, 10), w.umidsIn(1, 0, 10)...)
	w.produce(w.client(), w.requestsFor(handled...)...)
	w.waitForOutcomes(len(handled))
	w.waitSettled(r)
	r.stop()

	abandoned, kept := w.umidsIn(0, 1_000, 10), w.umidsIn(1, 1_000, 10)
	w.produce(w.client(), w.requestsFor(append(abandoned, kept...)...)...)
	w.setOffsets(map[int]int64{0: w.ends(w.requests)[0]}, "")
	r = w.start("forward")
	w.waitRunning(r)
	later := append(w.umidsIn(0, 2_000, 5), w.umidsIn(1, 2_000, 5)...)
	w.produce(w.client(), w.requestsFor(later...)...)
	w.waitSettled(r)
	r.stop()
	if n, want := len(w.readOutcomes()), len(handled)+len(kept)+len(later); n != want {
		t.Errorf("%d outcomes, want %d", n, want)
	}
	if n := callsOf(w.sim, abandoned); n != 0 {
		t.Errorf("%d calls for abandoned requests", n)
	}

	w.setOffsets(map[int]int64{0: 0}, "")
	r = w.start("back")
	w.waitSettled(r)
	r.stop()
	audited := w.audit()
	if all := len(handled) + len(abandoned) + len(kept) + len(later); audited.calls != all {
		t.Errorf("%d calls for %d messages: %s", audited.calls, all, fmt.Sprint(audited.byStatus))
	}
}
