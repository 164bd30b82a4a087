package integration

import (
	"syscall"
	"testing"
	"time"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// Fault: SIGTERM under load. Promise: exit code 0; every call that was made has
// been answered and has its outcome, none is ambiguous; the next worker makes the
// other calls, and no one twice: 1,500 requests.
func TestSIGTERMUnderLoadFinishesEveryCall(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const total = 1_500
	w := newWorld(t, kafkatest.Shared(t), 4, slow(200*time.Millisecond))
	w.ask(0, total)
	r := w.start("first", "--concurrency", "50", "--session-timeout", "30s")
	w.awaitCalls(total / 3)
	r.stop()
	summary, attempts := w.sim.Summary(), 0
	for _, f := range w.readOutcomes() {
		attempts += f.outcome.Attempts
	}
	if summary.InProgress != 0 || summary.Statuses[200] != summary.Calls || int64(attempts) != summary.Calls || attempts == total {
		t.Errorf("%d calls, %d in progress, answered %v, %d in outcomes", summary.Calls, summary.InProgress, summary.Statuses, attempts)
	}
	r = w.start("second", "--concurrency", "50", "--session-timeout", "30s")
	w.waitForOutcomes(total)
	r.stop()
	if found := w.audit(); found.calls != total || found.unclear != 0 {
		t.Errorf("%d calls for %d messages, %d ambiguous", found.calls, total, found.unclear)
	}
}

// Fault: a second SIGTERM while calls are in hand that will not end. Promise: the
// process ends at once, by the signal; its heir gives each of 300 requests its one
// outcome.
func TestASecondSIGTERMEndsAtOnce(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const total, hanging = 300, 10
	w := newWorld(t, kafkatest.Shared(t), 2, hangs(hanging, simulator.Before))
	r := w.startAndHang(total, hanging, "--drain-timeout", "1h")
	r.signal(syscall.SIGTERM)
	w.waitUnready(r, "stopping")
	r.signal(syscall.SIGTERM)
	<-r.done
	if status := r.cmd.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v", r.exit)
	}
	heir := w.start("heir")
	w.waitForOutcomes(total)
	heir.stop()
	if found := w.audit(); found.calls != total+hanging {
		t.Errorf("%d calls for %d messages, %d of them twice", found.calls, total, hanging)
	}
	w.checkRepeats()
}

// Fault: SIGTERM with a drain timeout that is shorter than the calls in hand; the
// API has cancelled their messages and will not say so. Promise: exit code 0 in
// time, and the heir says of exactly these 10 of 300 requests that they are
// ambiguous.
func TestADrainShorterThanACallLeavesItToTheHeir(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const total, hanging = 300, 10
	w := newWorld(t, kafkatest.Shared(t), 2, hangs(hanging, simulator.After))
	r := w.startAndHang(total, hanging, "--drain-timeout", "6s")
	r.stop()
	if r.logged("drain took too long") == 0 {
		t.Error("it does not say that the drain took too long")
	}
	heir := w.start("heir")
	w.waitForOutcomes(total)
	heir.stop()
	found := w.audit()
	if found.calls != total+hanging || found.unclear != hanging {
		t.Errorf("%d calls for %d messages, %d ambiguous, want %d", found.calls, total, found.unclear, hanging)
	}
	w.checkRepeats()
}

// hangs is an API that does not answer the first call for the first n messages.
func hangs(n int, phase simulator.Phase) simulator.Options {
	all := map[string]simulator.MessageRule{}
	for i := range n {
		all[umid(i)] = simulator.MessageRule{Answers: []simulator.Answer{{Hang: phase}}}
	}
	return simulator.Options{Scenario: &simulator.Scenario{Messages: all}}
}

// startAndHang starts a worker on total requests and returns when all have their
// outcome but those whose calls hang.
func (w *world) startAndHang(total, hanging int, flags ...string) *replica {
	w.t.Helper()
	w.ask(0, total)
	r := w.start("first", append([]string{"--attempt-timeout", "1h"}, flags...)...)
	w.waitForOutcomes(total - hanging)
	w.awaitCalls(int64(total))
	return r
}
