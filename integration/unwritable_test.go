package integration

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"smscancel/integration/simulator"
	"smscancel/worker/status"
)

// Fault: two of three brokers hang, so that no outcome can be written, and wake
// up again: once, in a long run three times. Promise: calls stop; the replicas
// are unready and say why; then they go on.
func twoBrokersHang(m *weather) {
	for i := range length(1, 3) {
		m.pileUp()
		m.cluster.Pause(i)
		m.cluster.Pause((i + 1) % 3)
		m.callsStop()
		m.cluster.Unpause(i)
		m.cluster.Unpause((i + 1) % 3)
		m.goesOn()
	}
}

// Fault: two of three brokers are killed and started again. Promise: as above.
func twoBrokersAreKilled(m *weather) {
	m.pileUp()
	m.cluster.Kill(1)
	m.cluster.Kill(2)
	m.callsStop()
	m.cluster.StartAgain(1, 2)
}

// Fault: one broker hangs while the outcome topic wants all three replicas
// (min.insync.replicas 3): requests come in, outcomes are refused. Promise: as
// above, however many requests come in meanwhile.
func outcomesLackReplicas(m *weather) {
	m.setMinISR(3)
	m.pileUp()
	m.cluster.Pause(2)
	before := m.load.acked.Load()
	m.callsStop()
	if came := m.load.acked.Load() - before; came < perSecond {
		m.t.Errorf("only %d requests came in while calls had to stop", came)
	}
	m.setMinISR(2)
	m.goesOn()
	m.cluster.Unpause(2)
}

// Fault: brokers receive everything from both replicas, whose outcomes are
// written, and no answer comes back. Promise: as above; what was written is not
// written again.
func answersToAllAreLost(m *weather) {
	m.pileUp()
	m.cluster.Detour().LoseAnswers()
	m.callsStop()
	m.cluster.Detour().Heal()
}

// Fault: the disk of a broker that leads an outcome partition is full: Kafka
// gives it up, and the broker ends in the middle of its writes. Later there is
// space again. Promise: calls go on meanwhile.
func diskIsFull(m *weather) {
	full := m.cluster.Leader(m.outcomes, 0)
	m.cluster.FillDisk(full)
	m.cluster.WaitDown(full)
	m.goesOn()
	m.cluster.FreeDisk(full)
	m.cluster.StartAgain(full)
}

// Fault: the disk of the only broker is full, and later there is space again.
// Promise: calls stop; the replicas are unready and say why; then they go on.
func onlyDiskIsFull(m *weather) {
	m.pileUp()
	m.cluster.FillDisk(0)
	m.cluster.WaitDown(0)
	m.callsStop()
	m.cluster.FreeDisk(0)
	m.cluster.StartAgain(0)
}

func (w *world) setMinISR(n int) {
	w.t.Helper()
	value := fmt.Sprint(n)
	w.eventually("min.insync.replicas to be set", func() error { // a broker that is asked may hang
		altered, err := w.admin().AlterTopicConfigs(within(w.t), []kadm.AlterConfig{{Name: "min.insync.replicas", Value: &value}}, w.outcomes)
		if err == nil {
			_, err = altered.On(w.outcomes, func(r *kadm.AlterConfigsResponse) error { return r.Err })
		}
		return err
	})
}

// inHand is how many requests of every partition wait in hand while calls have
// to stop: that none starts would say nothing otherwise.
const inHand = 100

// pileUp makes the API so slow that thousands of requests wait in hand: only the
// lack of a permit can keep their calls from starting.
func (m *weather) pileUp() {
	m.t.Helper()
	m.setLatency(simulator.Latency{Fixed: 500 * time.Millisecond})
	m.load.add(6 * 5 * inHand)
	m.look("requests to pile up", func(p status.Partition) error {
		if p.InHand < 3*inHand {
			return fmt.Errorf("%d in hand", p.InHand)
		}
		return nil
	})
}

func (w *world) setLatency(l simulator.Latency) {
	w.t.Helper()
	if err := w.sim.SetFaults(simulator.Faults{Latency: l}); err != nil {
		w.t.Fatal(err)
	}
}

// callsStop waits until every partition says what it waits for, and then looks
// at it a hundred times more: no call may start in between. Only the replicas'
// own words count, not the time: a slow machine makes the test longer, not wrong.
func (m *weather) callsStop() {
	m.t.Helper()
	stalled := func(p status.Partition) error {
		if p.Reason == "" || p.InHand < inHand {
			return fmt.Errorf("it is %s, %d in hand: %q", p.State, p.InHand, p.Reason)
		}
		return nil
	}
	m.look("calls to stop", stalled)
	before := m.calls()
	pace := time.NewTicker(100 * time.Millisecond)
	defer pace.Stop()
	for range 100 {
		<-pace.C
		m.look("calls to stop", stalled)
	}
	if more := m.calls() - before; more > 0 {
		m.t.Errorf("%d calls started although no outcome could be written", more)
	}
	m.waitUnready(m.a, "")
	m.waitUnready(m.b, "")
	m.setLatency(usualLatency) // of the API, for what has to be done now
}

// look waits until every partition, in one look, is what it must be.
func (m *weather) look(what string, check func(status.Partition) error) {
	m.t.Helper()
	m.eventually(what, func() error {
		total := 0
		for _, r := range []*replica{m.a, m.b} {
			s, err := r.status()
			if err != nil {
				return err
			}
			for _, p := range s.Partitions {
				if err := check(p); err != nil {
					return fmt.Errorf("partition %d of %s: %w", p.Partition, r.name, err)
				}
				total++
			}
		}
		if total != m.parts {
			return fmt.Errorf("%d of %d partitions are held", total, m.parts)
		}
		return nil
	})
}
