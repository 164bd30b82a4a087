package integration

import "time"

// Fault: brokers receive everything from one of two replicas, and none of their
// answers reaches it, until its partitions have moved: a partition of the
// network in one direction; once, in a long run three times. Promise: the other
// replica goes on with all partitions, the one that is cut off is unready, and
// takes part again when the network is whole.
func answersToOneAreLost(m *weather) {
	for range length(1, 3) {
		m.cluster.Detour().LoseAnswers()
		m.oneIsCutOff()
	}
}

// Fault: nothing from one of two replicas reaches the brokers. Promise: as above.
func requestsOfOneAreLost(m *weather) {
	for range length(1, 3) {
		m.cluster.Detour().LoseRequests()
		m.oneIsCutOff()
	}
}

// Fault: one of two replicas has no connection to the brokers. Promise: as above.
func networkOfOneIsCut(m *weather) {
	for range length(1, 3) {
		m.cluster.Detour().Cut()
		m.oneIsCutOff()
	}
}

// oneIsCutOff is the course of a fault that keeps replica a from the brokers.
func (m *weather) oneIsCutOff() {
	m.t.Helper()
	m.waitRunning(m.b) // all partitions
	m.goesOn()
	m.waitUnready(m.a, "")
	m.cluster.Detour().Heal()
	m.waitRunning(m.a, m.b)
	m.goesOn()
}

// Fault: answers of one broker to both replicas are lost for a moment, 60 times
// and of each broker in turn: what it was asked has been done, and the replicas
// cannot know. Promise: outcomes that were written are not written again.
func answersOfOneBrokerAreLost(m *weather) {
	way := m.cluster.Detour()
	pace := time.NewTicker(300 * time.Millisecond)
	defer pace.Stop()
	for i := range 60 {
		way.LoseAnswers(i % 3)
		<-pace.C
		way.Heal()
		<-pace.C
	}
}

// Fault: all connections of both replicas to the brokers are reset, 100 times,
// 300 ms apart.
func connectionsAreReset(m *weather) {
	pace := time.NewTicker(300 * time.Millisecond)
	defer pace.Stop()
	for range 100 {
		m.cluster.Detour().Reset()
		<-pace.C
	}
}

// Fault: each way between both replicas and the brokers takes 50 to 250 ms and
// carries 64 KiB/s, also while a replica starts and takes partitions over.
// Promise: calls go on, the replicas stay ready.
func networkIsSlow(m *weather) {
	way := m.cluster.Detour()
	way.Delay(150*time.Millisecond, 100*time.Millisecond)
	way.Narrow(64)
	m.goesOn()
	c := m.startAt(way.Bootstrap(), "c")
	m.waitRunning(m.a, m.b, c)
	for range 5 {
		m.goesOn()
	}
	for _, r := range []*replica{m.a, m.b, c} {
		m.waitReady(r)
	}
	c.stop()
	way.Heal()
}
