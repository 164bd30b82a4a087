package kafkatest

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	// mainRuns is set while Main runs the tests: only then is there somebody
	// to remove the shared broker.
	mainRuns atomic.Bool

	// sharedCluster is what Main has to remove; nil while nobody asked for it.
	sharedCluster atomic.Pointer[Cluster]
)

// startShared starts the shared broker, or fails, once for all tests.
var startShared = sync.OnceValues(func() (*Cluster, error) {
	c, err := start(Options{})
	if err != nil {
		return nil, err
	}
	sharedCluster.Store(c)
	return c, nil
})

// Shared gives the one broker that all tests of a package share, started at
// the first call. Tests use topics and groups of their own and leave it alone:
// for faults, Start one. The package's TestMain must call Main.
func Shared(tb testing.TB) *Cluster {
	tb.Helper()
	Require(tb)
	if !mainRuns.Load() {
		tb.Fatal("kafkatest.Shared needs func TestMain(m *testing.M) { kafkatest.Main(m) }")
	}
	removeLeftovers(tb)
	c, err := startShared()
	if err != nil {
		tb.Fatalf("start the shared Kafka: %v", err)
	}
	return c.Lend(tb)
}

// Lend is the cluster as a test sees it that shares it: what fails, fails that
// test, and then the end of each broker's log is shown.
func (c *Cluster) Lend(tb testing.TB) *Cluster {
	view := *c
	view.tb = tb
	tb.Cleanup(func() {
		if tb.Failed() {
			view.showLogs()
		}
	})
	return &view
}

// Main runs the tests of a package and then removes the shared broker, if one
// was started. TestMain consists of this call; m carries the exit code.
func Main(m *testing.M) {
	mainRuns.Store(true)
	m.Run()
	mainRuns.Store(false)
	if c := sharedCluster.Load(); c != nil {
		if err := c.remove(); err != nil {
			fmt.Fprintln(os.Stderr, "remove the shared Kafka:", err)
		}
	}
}
