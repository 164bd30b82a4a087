package integration

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
	"smscancel/worker"
)

// Fault: two replicas are killed and started again without end, each as soon as
// it has joined the group and up to 600 ms later, so that many takeovers are cut
// short; 10 kills, 150 in a long run. Promise: of 100 requests a kill each has its
// one outcome, and none contradicts the API. A fifth of the messages has been sent
// already, so the API cancels nothing that would clear them of a lease.
func TestEveryRequestHasOneOutcomeInAKillLoop(t *testing.T) {
	kafkatest.Require(t)
	kills := length(10, 150)
	seed := uint64(number("SMSCANCEL_STORM_SEED", int(time.Now().UnixNano()&0xffffff)))
	t.Logf("SMSCANCEL_STORM_SEED=%d", seed)
	dice := rand.New(rand.NewPCG(seed, 1))
	options := slow(20 * time.Millisecond)
	options.Scenario = &simulator.Scenario{Messages: map[string]simulator.MessageRule{}}
	for n := 0; n < 100*kills; n += 5 {
		options.Scenario.Messages[umid(n)] = simulator.MessageRule{State: simulator.Sent}
	}
	w := newWorld(t, kafkatest.Shared(t), 6, options)
	var all []*replica
	spawn := func() *replica {
		r := w.spawn(fmt.Sprint("replica-", len(all)), "--concurrency", "20", "--session-timeout", "2s")
		all = append(all, r)
		return r
	}
	joined := func(r *replica) {
		w.eventually("a new member", func() error {
			if r.logged(`"joined the group"`) == 0 {
				return errNotYet
			}
			return nil
		})
	}
	slots := [2]*replica{spawn(), spawn()}
	for n := range kills {
		w.publish(batchOf(n*100, 100)...)
		i := dice.IntN(len(slots))
		joined(slots[i])
		<-time.After(time.Duration(dice.IntN(600)) * time.Millisecond)
		slots[i].kill()
		slots[i] = spawn()
	}
	w.waitForOutcomes(100 * kills)
	for _, r := range slots {
		joined(r) // before it listens to signals, SIGTERM just ends it
		r.stop()
	}
	found := w.audit()
	repeated := w.checkRepeats()
	t.Logf("%d requests, %d kills, %d of them in a takeover; %d calls, %d repeated; %v, %d ambiguous, of which %d were never called before",
		100*kills, kills, cutShort(all), found.calls, repeated, found.byStatus, found.unclear, w.calledOnce(found))
}

// cutShort counts the processes that ended with a takeover in hand.
func cutShort(all []*replica) int {
	n := 0
	for _, r := range all {
		assigned := 0
		for _, line := range r.lines() {
			if line["message"] == "joined the group" {
				assigned = int(line["assigned"].(float64))
			}
		}
		if r.logged(`"partition taken over"`) < assigned {
			n++
		}
	}
	return n
}

// calledOnce counts the ambiguous outcomes of messages that were called for this
// outcome alone: the lease was wider than the calls.
func (w *world) calledOnce(a audit) int {
	n := 0
	for _, o := range a.outcomes {
		if o.Ambiguous && o.Status != worker.StatusDuplicate && len(w.sim.CallsOf(o.UMID)) == o.Attempts {
			n++
		}
	}
	return n
}

// Fault: every 500 ms a replica joins or leaves under load, one to four at a time,
// 16 times, 240 in a long run. Promise: progress goes on, no call is cut, nothing
// is ambiguous, no message is called twice, every request has its one outcome.
func TestARebalanceStormCutsNoCall(t *testing.T) {
	kafkatest.Require(t)
	moves := length(16, 240)
	w := newWorld(t, kafkatest.Shared(t), 8, slow(50*time.Millisecond))
	dice := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	var all, live []*replica
	join := func() {
		r := w.spawn(fmt.Sprint("replica-", len(all)), "--concurrency", "10", "--session-timeout", "30s")
		all, live = append(all, r), append(live, r)
	}
	join()
	w.waitForMembers(1)
	total, stood := 0, 0
	pace := time.NewTicker(500 * time.Millisecond)
	defer pace.Stop()
	for move := range moves {
		w.ask(total, 100)
		total += 100
		if i := dice.IntN(len(live)); len(live) > 1 && live[i].listens() && (len(live) == 4 || move%2 == 1) {
			live[i].signal(syscall.SIGTERM)
			live = append(live[:i], live[i+1:]...)
		} else if len(live) < 4 {
			join()
		}
		before := w.sim.Summary().Calls
		<-pace.C
		if w.sim.Summary().Calls == before {
			stood++
		}
	}
	during := w.sim.Summary().Calls
	w.waitForOutcomes(total)
	for _, r := range all {
		if !r.ended() {
			r.stop()
		}
	}
	found := w.audit()
	t.Logf("%d requests, %d moves, %d processes, %d calls, %d of them during the storm, in %d of %d intervals none; %v, %d ambiguous",
		total, moves, len(all), found.calls, during, stood, moves, found.byStatus, found.unclear)
	if found.calls != total || found.unclear != 0 {
		t.Errorf("%d calls for %d messages, %d ambiguous", found.calls, total, found.unclear)
	}
	if during < int64(total/10) {
		t.Errorf("only %d of %d requests were called during the storm: it stood still", during, total)
	}
	for _, r := range all {
		if r.exit != nil {
			t.Errorf("%s ended with %v", r.name, r.exit)
		}
	}
	w.checkRepeats()
}
