package integration

import (
	"time"

	"smscancel/producer"
)

// Fault: the broker that leads an outcome partition, and so requests as well,
// is killed with SIGKILL and started again: 9 times in a long run, once in an
// ordinary one. Promise: calls go on while it is down. The last one stays down.
func leaderIsKilled(m *weather) {
	for i, down := 0, -1; i < length(1, 9); i++ {
		if down >= 0 {
			m.cluster.StartAgain(down)
			m.goesOn()
		}
		down = m.cluster.Leader(m.outcomes, i%m.n)
		m.cluster.Kill(down)
		m.goesOn()
	}
}

// Fault: the first broker of --brokers, which also coordinates the group, hangs
// (docker pause): once, in a long run three times. Promise: while it hangs calls
// go on, and the group takes in a third replica and gives it partitions.
func firstBootstrapBrokerHangs(m *weather) {
	for range length(1, 3) {
		m.cluster.Pause(m.first)
		m.goesOn()
		c := m.startAt(beginningWith(m.first, m.brokers), "c")
		m.waitRunning(m.a, m.b, c)
		m.goesOn()
		m.cluster.Unpause(m.first)
		m.goesOn()
		c.stop()
		m.waitRunning(m.a, m.b)
	}
}

// Fault: each broker in turn hangs while a replica is killed, so that its
// partitions are taken over meanwhile. Promise: the takeover succeeds before
// the broker wakes up.
func brokerHangsDuringATakeover(m *weather) {
	for i := range 3 {
		m.cluster.Pause(i)
		m.b.kill()
		m.waitRunning(m.a)
		m.goesOn()
		m.cluster.Unpause(i)
		m.b = m.restarted(m.b)
		m.waitRunning(m.a, m.b)
		m.goesOn()
	}
}

// Fault: every broker in turn is stopped as an operator would, and started
// again. Promise: calls go on all the time.
func brokersAreRestarted(m *weather) {
	for i := range 3 {
		m.cluster.Stop(i)
		m.goesOn()
		m.cluster.StartAgain(i)
		m.cluster.Heal() // an operator waits for the replicas, too
		m.goesOn()
	}
}

// Fault: the coordinator of the group is killed; then that of a partition's
// transactional id, together with both replicas, whose successors must take the
// partition over. Promise: they do, while the broker is down.
func coordinatorsAreKilled(m *weather) {
	m.cluster.Kill(m.cluster.GroupCoordinator(m.group))
	m.goesOn()
	m.cluster.Heal()
	m.goesOn()
	id := (&producer.Ledger{Topic: m.outcomes}).TransactionalID(m.requests, 0)
	m.cluster.Kill(m.cluster.TransactionCoordinator(id))
	m.a.kill()
	m.b.kill()
	m.a, m.b = m.restarted(m.a), m.restarted(m.b)
	m.waitRunning(m.a, m.b)
	m.goesOn()
	m.cluster.Heal()
}

// Fault: every partition of both topics gets another leader, 40 times, half a
// second apart. Promise: nothing is taken over on that account.
func leadersMove(m *weather) {
	before := m.logged("partition taken over")
	pace := time.NewTicker(500 * time.Millisecond)
	defer pace.Stop()
	for range 40 {
		m.cluster.MoveLeaders(m.outcomes)
		m.cluster.MoveLeaders(m.requests)
		<-pace.C
	}
	m.goesOn()
	if n := m.logged("partition stopped"); n > 0 {
		m.t.Errorf("partitions were stopped %d times, %d takeovers", n, m.logged("partition taken over")-before)
	}
}
