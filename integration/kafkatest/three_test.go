package kafkatest

import (
	"context"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Three brokers take a while to start, so these tests share them.
func TestThreeBrokers(t *testing.T) {
	c := Start(t, Options{Brokers: 3, Detour: true})
	for name, test := range map[string]func(*testing.T, *Cluster){
		"ReplicateAndSurviveTheLossOfALeader": testLossOfALeader,
		"AreReachedByAWayThatBreaksAndHeals":  testDetour,
		"HealFromWhateverHappened":            testHeal,
	} {
		t.Run(name, func(t *testing.T) { test(t, c.Lend(t)) })
	}
}

func testLossOfALeader(t *testing.T, c *Cluster) {
	c.CreateTopic("replicated", 1, nil)
	all := replicas(t, c.Bootstrap()[0], "replicated", 3)
	produce(t, c.Bootstrap(), "replicated", "before")

	leader := all[0].Leader.ID - 1
	c.Kill(leader)
	rest := append(c.Bootstrap()[:leader:leader], c.Bootstrap()[leader+1:]...)
	moved := replicas(t, rest[0], "replicated", 2)
	if moved[0].Leader.ID-1 == leader {
		t.Errorf("broker %d still leads after its death", leader)
	}
	produce(t, rest, "replicated", "without it")
	expect(t, rest, "replicated", "before", "without it")

	c.StartAgain(leader)
	replicas(t, c.Bootstrap()[leader], "replicated", 3)
}

func testDetour(t *testing.T, c *Cluster) {
	c.CreateTopic("far", 1, nil)
	way := c.Detour()
	client, err := kgo.NewClient(kgo.SeedBrokers(way.Bootstrap()...), kgo.DisableIdempotentWrite(), kgo.RecordRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for value, fault := range map[string]func(){
		"requests lost": func() { way.LoseRequests() },
		"answers lost":  func() { way.LoseAnswers() },
		"cut":           func() { way.Cut() },
	} {
		err := poll(within(t), func(context.Context) error { return tryProduce(client, "before") }) // it may have to connect again
		if err != nil {
			t.Fatalf("before %s: %v", value, err)
		}
		fault()
		if err := tryProduce(client, value); err == nil {
			t.Errorf("acknowledged, although %s", value)
		}
		produce(t, c.Bootstrap(), "far", "the direct way")
		way.Heal()
	}
	way.Delay(100*time.Millisecond, 10*time.Millisecond)
	way.Narrow(100)
	started := time.Now()
	produce(t, way.Bootstrap(), "far", "late")
	if took := time.Since(started); took < 180*time.Millisecond {
		t.Errorf("there and back took %s, want 100 ms each way", took)
	}
	way.Reset()
	c.Heal()
	produce(t, way.Bootstrap(), "far", "healed")
	if values := count(t, c, "far"); values["answers lost"] != 1 || values["requests lost"] != 0 || values["cut"] != 0 ||
		values["the direct way"] != 3 || values["healed"] != 1 {
		t.Errorf("written: %v", values)
	}
}

func testHeal(t *testing.T, c *Cluster) {
	c.CreateTopic("healed", 1, nil)
	was := c.Leader("healed", 0)
	c.MoveLeaders("healed")
	if is := c.Leader("healed", 0); is == was {
		t.Errorf("broker %d still leads", is)
	}
	c.Pause(0)
	c.Kill(1)
	c.Heal()
	for i := range 2 {
		if state := stateOf(t, c, i); !state.running || state.paused {
			t.Errorf("broker %d after Heal: %+v", i, state)
		}
	}
	for _, i := range []int{c.GroupCoordinator("any"), c.TransactionCoordinator("any")} {
		if i < 0 || i > 2 {
			t.Errorf("a coordinator is broker %d", i)
		}
	}
	replicas(t, c.Bootstrap()[2], "healed", 3)
}

// tryProduce makes one try, without repetition, that may take 3 s.
func tryProduce(client *kgo.Client, value string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	return client.ProduceSync(ctx, &kgo.Record{Topic: "far", Value: []byte(value)}).FirstErr()
}

// count reads partition 0 of a topic up to the last value that produce wrote.
func count(t *testing.T, c *Cluster, topic string) map[string]int {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: c.Bootstrap(), Topic: topic, MaxWait: 500 * time.Millisecond})
	defer func() { _ = r.Close() }()
	values := map[string]int{}
	for values["healed"] == 0 {
		m, err := r.ReadMessage(within(t))
		if err != nil {
			t.Fatalf("consume: %v", err)
		}
		values[string(m.Value)]++
	}
	return values
}
