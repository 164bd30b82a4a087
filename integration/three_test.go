package integration

import (
	"fmt"
	"testing"
	"time"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
	"smscancel/worker"
)

// fault is what happens to the brokers or to the way to them, under load. It
// asserts what must be true meanwhile, and waits until that has passed; in the
// end, unless it says otherwise, everything is whole again.
type fault func(*weather)

// threeBrokerTests run one after another on one cluster, which takes up to a
// minute to start: replication 3, min.insync.replicas 2. In an ordinary run the
// strongest of the faults follow each other; make faults-kafka runs all of them
// one by one, at full length.
var threeBrokerTests = []struct {
	name   string
	long   bool
	setup  setup
	faults []fault
}{
	{"FaultsFollowEachOther", false, setup{}, []fault{answersToOneAreLost, firstBootstrapBrokerHangs, twoBrokersHang, leaderIsKilled}},
	{"AnswersToOneReplicaAreLost", true, setup{}, []fault{answersToOneAreLost}},
	{"RequestsOfOneReplicaAreLost", true, setup{}, []fault{requestsOfOneAreLost}},
	{"TheNetworkOfOneReplicaIsCut", true, setup{}, []fault{networkOfOneIsCut}},
	{"AnswersToAllReplicasAreLost", true, setup{bothDetour: true}, []fault{answersToAllAreLost}},
	{"AnswersOfOneBrokerAreLostAgainAndAgain", true, setup{bothDetour: true}, []fault{answersOfOneBrokerAreLost}},
	{"ConnectionsAreResetAgainAndAgain", true, setup{bothDetour: true}, []fault{connectionsAreReset}},
	{"TheNetworkIsSlow", true, setup{bothDetour: true}, []fault{networkIsSlow}},
	{"LeadersMove", true, setup{}, []fault{leadersMove}},
	{"TheFirstBootstrapBrokerHangs", true, setup{}, []fault{firstBootstrapBrokerHangs}},
	{"ABrokerHangsDuringATakeover", true, setup{}, []fault{brokerHangsDuringATakeover}},
	{"TwoOfThreeBrokersHang", true, setup{}, []fault{twoBrokersHang}},
	{"TwoOfThreeBrokersAreKilled", true, setup{}, []fault{twoBrokersAreKilled}},
	{"OutcomesLackReplicasWhileRequestsFlow", true, setup{}, []fault{outcomesLackReplicas}},
	{"TheDiskOfABrokerIsFull", true, setup{}, []fault{diskIsFull}},
	{"TheDiskOfTheOnlyBrokerIsFull", true, setup{oneBroker: true}, []fault{onlyDiskIsFull}},
	{"BrokersAreRestartedInTurn", true, setup{}, []fault{brokersAreRestarted}},
	{"CoordinatorsAreKilled", true, setup{}, []fault{coordinatorsAreKilled}},
	{"ALeaderIsKilled", true, setup{}, []fault{leaderIsKilled}},
}

// setup is what a test wants beside three brokers, replica a that reaches them
// by the detour, and b that does not.
type setup struct {
	bothDetour bool
	oneBroker  bool // a cluster of its own
}

// TestEveryRequestHasOneOutcomeAlthough has the promise of all of them in its
// name: every request that was ever written has exactly one outcome, and the
// audit finds no guarantee broken.
func TestEveryRequestHasOneOutcomeAlthough(t *testing.T) {
	kafkatest.Require(t)
	cluster := kafkatest.Start(t, kafkatest.Options{Brokers: 3, Detour: true, DiskMiB: 256})
	for _, test := range threeBrokerTests {
		if test.long != longRun {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			cluster := cluster.Lend(t)
			if test.setup.oneBroker {
				cluster = kafkatest.Start(t, kafkatest.Options{Detour: true, DiskMiB: 128})
			}
			cluster.Heal() // of what the test before this one has left
			m := newWorld(t, cluster, 6, usual).begin(test.setup)
			for _, befalls := range test.faults {
				befalls(m)
				m.goesOn()
			}
			m.end()
		})
	}
}

// weather is a test on real brokers: two replicas at work while requests come
// in steadily.
type weather struct {
	*world
	a, b    *replica
	gone    []*replica // that were killed
	first   int        // broker, of the bootstrap lists and coordinator of the group
	load    *load
	started time.Time
}

// usual is the API of these tests.
var (
	usual        = simulator.Options{Faults: simulator.Faults{Latency: usualLatency}}
	usualLatency = simulator.Latency{Min: 2 * time.Millisecond, Max: 30 * time.Millisecond}
)

// perSecond is the load of these tests, in requests a second.
const perSecond = 100

// begin starts two replicas and the load, and returns when calls are made.
func (w *world) begin(s setup) *weather {
	w.t.Helper()
	m := &weather{world: w, started: time.Now(), first: w.cluster.GroupCoordinator(w.group)}
	detour := beginningWith(m.first, w.cluster.Detour().Bootstrap())
	w.brokers = beginningWith(m.first, w.brokers)
	m.a = w.startAt(detour, "a", "--concurrency", "64")
	if s.bothDetour {
		w.brokers = detour
	}
	m.b = w.start("b", "--concurrency", "64")
	w.brokers = w.cluster.Bootstrap()
	w.waitRunning(m.a, m.b)
	m.load = w.load(perSecond)
	m.goesOn()
	return m
}

// beginningWith is a list that begins with its i-th element.
func beginningWith(i int, list []string) []string {
	return append(list[i:len(list):len(list)], list[:i]...)
}

// goesOn waits until requests that are written from now on are called.
func (m *weather) goesOn() {
	m.t.Helper()
	want := m.calls() + 2*perSecond
	m.eventually("calls to go on", func() error {
		if have := m.calls(); have < want {
			return fmt.Errorf("%d calls, waiting for %d", have, want)
		}
		return nil
	})
}

// calls is how many calls the API has seen begin.
func (w *world) calls() int { return int(w.sim.Summary().Calls) }

// end waits until everything is settled and both replicas are ready, stops them
// in good order, and audits the run.
func (m *weather) end() {
	m.t.Helper()
	total := m.load.end()
	m.waitSettled(m.a, m.b)
	m.waitReady(m.a)
	m.waitReady(m.b)
	m.a.stop()
	m.b.stop()
	found := m.audit()
	m.t.Logf("%d requests, %d calls, %v, %d ambiguous; %d takeovers, %d fenced, %d produce errors, %d generations; %s",
		total, found.calls, found.byStatus, found.unclear, m.logged("partition taken over"), m.logged(worker.ErrFenced.Error()),
		m.logged("outcomes not written yet"), m.logged("joined the group"), time.Since(m.started).Round(time.Second))
}

// logged counts the log lines of all replicas that contain a text.
func (m *weather) logged(text string) int {
	n := 0
	for _, r := range append(m.gone, m.a, m.b) {
		n += r.logged(text)
	}
	return n
}

// restarted is the successor of a replica that was killed.
func (m *weather) restarted(r *replica) *replica {
	m.t.Helper()
	m.gone = append(m.gone, r)
	return m.start(r.name, "--concurrency", "64")
}
