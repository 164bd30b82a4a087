package integration

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"smscancel/integration/kafkatest"
	"smscancel/worker"
)

// patientFlags are those of a worker whose calls may take as long as a pause.
var patientFlags = []string{"--concurrency", "20", "--attempt-timeout", "1h"}

// paused is a world with one worker that stands still with calls in hand, a
// quarter of its requests called.
func paused(t *testing.T, total, parts int) (*world, *replica) {
	w := newWorld(t, kafkatest.Shared(t), parts, slow(20*time.Millisecond))
	r := w.start("worker", patientFlags...)
	w.waitRunning(r)
	w.ask(0, total)
	w.awaitCalls(int64(total / 4))
	r.signal(syscall.SIGSTOP)
	return w, r
}

// Fault: the only member is paused, calls in hand, until the group has evicted
// it; then it goes on and is given the same partitions. Promise: nobody has owned
// them meanwhile, so it keeps its sessions: of 1,000 requests each has its one
// outcome, no message is called twice, nothing is ambiguous.
func TestAMemberEvictedAloneKeepsItsPartitions(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const total, parts = 1_000, 3
	w, r := paused(t, total, parts)
	w.waitForMembers(0)
	r.signal(syscall.SIGCONT)
	w.waitForOutcomes(total)
	w.waitSettled(r)
	r.stop()
	if n := r.logged(`"joined the group"`); n < 2 {
		t.Errorf("it joined the group %d times: it was not evicted", n)
	}
	if n := r.logged(`"partition taken over"`); n != parts {
		t.Errorf("%d takeovers of %d partitions that nobody else has owned", n, parts)
	}
	if found := w.audit(); found.calls != total || found.unclear != 0 {
		t.Errorf("%d calls for %d messages, %d ambiguous", found.calls, total, found.unclear)
	}
}

// Fault: the same, but another member has owned the partitions meanwhile, was
// killed, and is evicted too before the first one goes on: the same partitions
// again, though not the same owner before it. Promise: it takes them over anew,
// and every one of 1,000 requests has its one outcome.
func TestAMemberEvictedForAnotherTakesOverAnew(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const total, parts = 1_000, 3
	w, r := paused(t, total, parts)
	another := w.start("another", patientFlags...)
	w.waitRunning(another)
	w.awaitCalls(total / 2)
	another.kill()
	w.waitForMembers(0)
	r.signal(syscall.SIGCONT)
	w.waitForOutcomes(total)
	w.waitSettled(r)
	r.stop()
	if n := r.logged(`"partition taken over"`); n < 2*parts {
		t.Errorf("%d takeovers of %d partitions that another has owned meanwhile", n, parts)
	}
	found := w.audit()
	t.Logf("%d requests, %d calls, %v, %d ambiguous", total, found.calls, found.byStatus, found.unclear)
	w.checkRepeats()
}

// Fault: three of four replicas are paused at once, calls in hand, until the
// fourth owns everything, and are continued at once; once, ten times in a long
// run. Promise: their appends are refused, and every request has its one outcome.
func TestOutcomesArePublishedOnceWhenZombiesWakeTogether(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const batch = 1_200
	w := newWorld(t, kafkatest.Shared(t), 8, slow(100*time.Millisecond))
	var all []*replica
	for i := range 4 {
		all = append(all, w.start(fmt.Sprint("replica-", i), "--concurrency", "40"))
	}
	rounds := length(1, 10)
	for round := range rounds {
		w.waitRunning(all...)
		w.ask(round*batch, batch)
		w.awaitCalls(w.sim.Summary().Calls + batch/4)
		for _, r := range all[1:] {
			r.signal(syscall.SIGSTOP)
		}
		w.waitRunning(all[0])
		for _, r := range all[1:] {
			r.signal(syscall.SIGCONT)
		}
		w.waitForOutcomes((round + 1) * batch)
	}
	for _, r := range all[1:] {
		w.eventually(r.name+"'s append to be refused", func() error {
			if r.logged(worker.ErrFenced.Error()) == 0 {
				return errNotYet
			}
			return nil
		})
	}
	for _, r := range all {
		r.stop()
	}
	found := w.audit()
	t.Logf("%d requests, %d rounds, %d calls, %v, %d ambiguous", rounds*batch, rounds, found.calls, found.byStatus, found.unclear)
	w.checkRepeats()
}

// waitForMembers waits until the group has n members.
func (w *world) waitForMembers(n int) {
	w.t.Helper()
	w.eventually(fmt.Sprint(n, " members"), func() error {
		groups, err := w.admin().DescribeGroups(within(w.t), w.group)
		if err == nil {
			err = groups.Error()
		}
		if err == nil && len(groups[w.group].Members) != n {
			err = fmt.Errorf("%s has %d", groups[w.group].State, len(groups[w.group].Members))
		}
		return err
	})
}
