package broker

import (
	"testing"

	"github.com/segmentio/kafka-go"

	"smscancel/integration/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestTopicsOutliveABrokerWithADataDir(t *testing.T) {
	dir := t.TempDir()
	create(t, dir)
	b := startIn(t, dir)
	defer b.Close()
	if info := b.Cluster.TopicInfo("kept"); info == nil {
		t.Error("the topic is gone")
	}
}

func create(t *testing.T, dir string) {
	t.Helper()
	b := startIn(t, dir)
	defer b.Close()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(b.Addr()), Transport: transport}
	for range 2 { // one that exists is left alone
		if err := CreateTopics(t.Context(), client, 1, Topic{Name: "kept", Partitions: 3}); err != nil {
			t.Fatal(err)
		}
	}
}

func startIn(t *testing.T, dir string) *Broker {
	t.Helper()
	b, err := Start(Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
