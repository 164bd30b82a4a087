package kafkatest

import (
	"context"
	"net"
	"strconv"
	"testing"

	"github.com/moby/moby/client"
	"github.com/segmentio/kafka-go"
)

func TestSharedBrokerIsOneForAllTestsAndKeepsRecords(t *testing.T) {
	c := Shared(t)
	if again := Shared(t); again.ID() != c.ID() || again.Bootstrap()[0] != c.Bootstrap()[0] {
		t.Errorf("second call gives %s at %s, want %s at %s", again.ID(), again.Bootstrap(), c.ID(), c.Bootstrap())
	}
	c.CreateTopic("shared", 3, map[string]string{"retention.ms": "-1"})
	produce(t, c.Bootstrap(), "shared", "one", "two")
	if len(replicas(t, c.Bootstrap()[0], "shared", 1)) != 3 {
		t.Error("the topic does not have the 3 partitions asked for")
	}
}

func TestClusterIDIsTheBrokersOwn(t *testing.T) {
	c := Shared(t)
	conn, err := dial(within(t), c.Bootstrap()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	err = withAdmin(c.Admin(), func(admin *kafka.Client) error {
		metadata, err := admin.Metadata(within(t), &kafka.MetadataRequest{})
		if err == nil && metadata.ClusterID != c.ID() {
			t.Errorf("the broker says %s, ID says %s", metadata.ClusterID, c.ID())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCommandsRunInsideABroker(t *testing.T) {
	c := Shared(t)
	c.CreateTopic("listed", 1, nil)
	tool := []string{"/opt/kafka/bin/kafka-topics.sh", "--bootstrap-server", "localhost:19092", "--describe", "--topic"}
	if output, err := c.Exec(0, append(tool, "listed")...); err != nil || output == "" {
		t.Errorf("describe a topic: %q, %v", output, err)
	}
	if output, err := c.Exec(0, append(tool, "missing")...); err == nil {
		t.Errorf("describe a missing topic: no error, output %q", output)
	}
}

func TestKilledOrStoppedBrokerComesBackWithItsDataOnItsAddress(t *testing.T) {
	c := Start(t, Options{})
	c.CreateTopic("kept", 1, nil)
	address := c.Bootstrap()[0]
	produce(t, c.Bootstrap(), "kept", "before")

	c.Kill(0)
	if state := stateOf(t, c, 0); state.running || state.exitCode != 137 {
		t.Errorf("after Kill: running %t, exit code %d, want a process ended by SIGKILL (137)", state.running, state.exitCode)
	}
	c.StartAgain(0)
	produce(t, c.Bootstrap(), "kept", "between")

	c.Stop(0)
	if state := stateOf(t, c, 0); state.running || state.exitCode == 137 {
		t.Errorf("after Stop: running %t, exit code %d, want a clean end", state.running, state.exitCode)
	}
	c.StartAgain(0)
	produce(t, c.Bootstrap(), "kept", "after")

	if c.Bootstrap()[0] != address {
		t.Errorf("address moved from %s to %s", address, c.Bootstrap()[0])
	}
	expect(t, c.Bootstrap(), "kept", "before", "between", "after")
}

func TestPausedBrokerGoesOnWhereItStopped(t *testing.T) {
	c := Start(t, Options{})
	c.CreateTopic("paused", 1, nil)
	c.Pause(0)
	if !stateOf(t, c, 0).paused {
		t.Error("after Pause: not paused")
	}
	c.Unpause(0)
	if stateOf(t, c, 0).paused {
		t.Error("after Unpause: still paused")
	}
	produce(t, c.Bootstrap(), "paused", "after")
	expect(t, c.Bootstrap(), "paused", "after")
}

func TestBrokerEndsWhenItsDiskIsFullAndComesBackWithItsDataWhenThereIsSpace(t *testing.T) {
	c := Start(t, Options{DiskMiB: 64})
	c.CreateTopic("full", 1, nil)
	produce(t, c.Bootstrap(), "full", "before")
	c.FillDisk(0)
	refused := make(chan error, 1)
	go func() { refused <- tryToFill(c.Bootstrap(), "full") }()
	c.WaitDown(0)
	if err := <-refused; err == nil {
		t.Error("everything was written to a full disk")
	}
	c.FreeDisk(0)
	c.StartAgain(0)
	produce(t, c.Bootstrap(), "full", "after")
	expect(t, c.Bootstrap(), "full", "before")
}

// tryToFill writes what needs more space than a full disk may have left.
func tryToFill(brokers []string, topic string) error {
	w := &kafka.Writer{Addr: kafka.TCP(brokers...), Transport: &kafka.Transport{}, Topic: topic, RequiredAcks: kafka.RequireAll, MaxAttempts: 1}
	defer func() { _ = w.Close() }()
	for range 20 {
		if err := w.WriteMessages(context.Background(), kafka.Message{Value: make([]byte, 256<<10)}); err != nil {
			return err
		}
	}
	return nil
}

func TestBrokerStartsElsewhereWhenItsPortIsTaken(t *testing.T) {
	Require(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	asked := 0
	c := Start(t, Options{port: func() (int, error) {
		if asked++; asked == 1 {
			return taken.Addr().(*net.TCPAddr).Port, nil
		}
		return FreePort()
	}})
	if asked != 2 {
		t.Errorf("asked for %d ports, want 2", asked)
	}
	if c.Bootstrap()[0] == taken.Addr().String() {
		t.Errorf("bootstrap is %s, which is somebody else's", c.Bootstrap()[0])
	}
}

func TestOnlyOneOrThreeBrokersAndOneWithUsers(t *testing.T) {
	for _, bad := range []Options{{Brokers: 2}, {Brokers: -1}, {RequireClientCert: true}, {Brokers: 3, Users: map[string]string{"a": "b"}}} {
		if err := bad.validate(); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestCallersEnvironmentWins(t *testing.T) {
	o := Options{Brokers: 3, Env: map[string]string{"KAFKA_MIN_INSYNC_REPLICAS": "1", "KAFKA_LOG_RETENTION_MS": "5"}}
	env := o.environment(&broker{id: 2, plain: 12001}, "cluster")
	for name, want := range map[string]string{
		"KAFKA_MIN_INSYNC_REPLICAS":              "1",
		"KAFKA_LOG_RETENTION_MS":                 "5",
		"KAFKA_NODE_ID":                          "2",
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": strconv.Itoa(3),
		"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":    "2",
		"KAFKA_CONTROLLER_QUORUM_VOTERS":         "1@kafka1:29093,2@kafka2:29093,3@kafka3:29093",
		"KAFKA_ADVERTISED_LISTENERS":             "PLAIN://127.0.0.1:12001,INTERNAL://kafka2:19092",
	} {
		if env[name] != want {
			t.Errorf("%s is %q, want %q", name, env[name], want)
		}
	}
}

type containerState struct {
	running, paused bool
	exitCode        int
}

func stateOf(t *testing.T, c *Cluster, i int) containerState {
	t.Helper()
	result, err := c.docker.ContainerInspect(within(t), c.brokers[i].container.GetContainerID(), client.ContainerInspectOptions{})
	if err != nil {
		t.Fatalf("inspect broker %d: %v", i, err)
	}
	state := result.Container.State
	return containerState{running: state.Running, paused: state.Paused, exitCode: state.ExitCode}
}
