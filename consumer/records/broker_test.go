package records

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// startBroker returns the address of a broker that lives as long as the test.
func startBroker(t *testing.T) string {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0]
}
