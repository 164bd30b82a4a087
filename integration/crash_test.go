package integration

import (
	"syscall"
	"testing"
	"time"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
	"smscancel/worker"
)

// slow is an API that answers in a few milliseconds.
func slow(d time.Duration) simulator.Options {
	return simulator.Options{Faults: simulator.Faults{Latency: simulator.Latency{Fixed: d}}}
}

// Fault: one of two replicas is killed with SIGKILL midway and started again.
// Promise: every one of 20,000 requests has exactly one outcome, and none
// contradicts what the API did.
func TestEveryRequestHasOneOutcomeWhenAReplicaIsKilled(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const total = 20_000
	w := newWorld(t, kafkatest.Shared(t), 6, slow(3*time.Millisecond))
	flags := []string{"--concurrency", "64"}
	a, b := w.start("a", flags...), w.start("b", flags...)
	w.waitRunning(a, b)
	w.publish(batchOf(0, total)...)
	w.waitForOutcomes(total / 4)
	a.kill()
	w.waitForOutcomes(total / 2)
	a = w.start("a", flags...)
	w.waitForOutcomes(total)
	w.waitRunning(a, b)
	a.stop()
	b.stop()
	found := w.audit()
	t.Logf("%d requests, %d calls, %v, %d ambiguous", total, found.calls, found.byStatus, found.unclear)
	if found.calls > total {
		t.Errorf("%d calls for %d requests of which a tenth are duplicates", found.calls, total)
	}
}

// Fault: a replica is paused with SIGSTOP, calls in hand, until its partitions
// have moved, and then continued. Promise: its appends are refused, it makes
// no further calls for partitions it lost, every request has one outcome.
func TestOutcomeIsPublishedOnceWhenAZombieWakes(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const total = 4_000
	w := newWorld(t, kafkatest.Shared(t), 6, slow(300*time.Millisecond))
	flags := []string{"--concurrency", "100"}
	zombie, heir := w.start("zombie", flags...), w.start("heir", flags...)
	w.waitRunning(zombie, heir)
	w.publish(batchOf(0, total)...)
	w.waitForOutcomes(total / 8)
	zombie.signal(syscall.SIGSTOP)
	w.waitRunning(heir) // all partitions, the zombie's included
	zombie.signal(syscall.SIGCONT)
	w.waitForOutcomes(total)
	w.eventually("the zombie's append to be refused", func() error {
		if zombie.logged(worker.ErrFenced.Error()) == 0 {
			return errNotYet
		}
		return nil
	})
	zombie.stop()
	heir.stop()
	found := w.audit()
	t.Logf("%d requests, %d calls, %v, %d ambiguous", total, found.calls, found.byStatus, found.unclear)
}

// Fault: the only broker is killed and started again while requests flow.
func TestEveryRequestHasOneOutcomeAcrossABrokerRestart(t *testing.T) {
	kafkatest.Require(t)
	const total = 6_000
	cluster := kafkatest.Start(t, kafkatest.Options{})
	w := newWorld(t, cluster, 4, slow(20*time.Millisecond))
	flags := []string{"--concurrency", "40"}
	a, b := w.start("a", flags...), w.start("b", flags...)
	w.waitRunning(a, b)
	w.publish(batchOf(0, total)...)
	w.waitForOutcomes(total / 6)
	cluster.Kill(0)
	cluster.StartAgain(0)
	w.waitForOutcomes(total)
	a.stop()
	b.stop()
	found := w.audit()
	t.Logf("%d requests, %d calls, %v, %d ambiguous", total, found.calls, found.byStatus, found.unclear)
}

// Not a fault: one replica becomes three, every one is replaced in turn, and one
// remains. Promise: no call is cut, so nothing is ambiguous and nothing called twice.
func TestARollingRestartCutsNoCall(t *testing.T) {
	kafkatest.Require(t)
	const total = 6_000
	w := newWorld(t, kafkatest.Shared(t), 6, slow(50*time.Millisecond))
	flags := []string{"--concurrency", "40"}
	a := w.start("a", flags...)
	w.waitRunning(a)
	w.publish(batchOf(0, total)...)
	w.waitForOutcomes(total / 10)
	b, c := w.start("b", flags...), w.start("c", flags...) // a scale-out
	w.waitRunning(a, b, c)
	a.stop()
	w.waitRunning(b, c)
	a = w.start("a2", flags...)
	w.waitRunning(a, b, c)
	b.stop()
	w.waitRunning(a, c)
	c.stop()
	w.waitRunning(a)
	w.waitForOutcomes(total)
	a.stop()
	found := w.audit()
	t.Logf("%d requests, %d calls, %v, %d ambiguous", total, found.calls, found.byStatus, found.unclear)
	if found.unclear > 0 {
		t.Errorf("%d outcomes are ambiguous", found.unclear)
	}
	if messages := distinct(batchOf(0, total)); found.calls != messages {
		t.Errorf("%d calls for %d messages", found.calls, messages)
	}
}
