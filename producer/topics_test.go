package producer

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestRequestTopicsThatLoseRequestsAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		settings        map[string]string
		fatal, warnings []string
	}{
		"as they are made": {nil, nil, nil},
		"for ever":         {map[string]string{"retention.ms": "-1"}, nil, nil},
		"compaction":       {map[string]string{"cleanup.policy": "compact,delete"}, []string{"cleanup.policy=compact,delete"}, nil},
		"a size limit":     {map[string]string{"retention.bytes": "1000000"}, nil, []string{"retention.bytes=1000000"}},
		"short":            {map[string]string{"retention.ms": "3600000"}, nil, []string{"retention.ms=3600000"}},
		"small messages":   {map[string]string{"max.message.bytes": "50000"}, nil, []string{"max.message.bytes=50000"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1, nil)
			if err := b.cluster.CreateTopic(requestTopic, 1, c.settings); err != nil {
				t.Fatal(err)
			}
			found, err := b.CheckRequests(b.context(), requestTopic)
			if err != nil {
				t.Fatal(err)
			}
			matches(t, "fatal", found.Fatal, c.fatal)
			matches(t, "warning", found.Warnings, c.warnings)
		})
	}
	b := newBench(t, 1, nil)
	b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed})
	found, err := b.CheckRequests(b.context(), outcomeTopic)
	if err != nil {
		t.Fatal(err)
	}
	matches(t, "warning", found.Warnings, []string{"may not be read"})
}

func TestAPlannedTopicHasNothingToBeObjectedTo(t *testing.T) {
	b := newBench(t, 1, nil)
	for _, plan := range []Plan{PlanRequests("r", 6, 0, 168*time.Hour), PlanOutcomes("o", 4, 0, 336*time.Hour)} {
		if err := plan.On(1).Create(b.context(), b.Client); err != nil {
			t.Fatal(err)
		}
		if err := plan.On(1).Create(b.context(), b.Client); err != nil {
			t.Errorf("a second time: %v", err)
		}
		layout, err := LayoutOf(b.context(), b.Client, plan.Topic)
		if want := (Layout{plan.Partitions, 1, 1}); err != nil || layout != want {
			t.Errorf("%+v, want %+v: %v", layout, want, err)
		}
		if found := plan.Compare(layout); len(found.Warnings) > 0 {
			t.Errorf("%v", found.Warnings)
		}
	}
	b.Topic, b.Partitions = "o", 4
	found, err := b.CheckTopic(b.context(), 24*time.Hour, []string{"r"})
	if err != nil || len(found.Fatal)+len(found.Warnings) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
	if found, err = b.CheckRequests(b.context(), "r"); err != nil || len(found.Fatal)+len(found.Warnings) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
	if layout, err := LayoutOf(b.context(), b.Client, "missing"); err != nil || layout.Partitions != 0 {
		t.Errorf("%+v, %v", layout, err)
	}
}

func TestAPlanFitsTheClusterAndComparesWhatIsThere(t *testing.T) {
	for brokers, want := range map[int]int{1: 1, 2: 2, 3: 3, 9: 3} {
		plan := PlanOutcomes("o", 3, 0, time.Hour).On(brokers)
		settings := map[string]string{}
		for _, s := range plan.Settings {
			settings[s.Name] = s.Value
		}
		safe := settings["min.insync.replicas"] == "2" && settings["unclean.leader.election.enable"] == "false"
		if plan.Replication != want || safe != (want == 3) {
			t.Errorf("%d brokers: %d replicas, %v", brokers, plan.Replication, settings)
		}
	}
	for name, c := range map[string]struct {
		plan Plan
		is   Layout
		want []string
	}{
		"as any":          {Plan{Topic: "t"}, Layout{5, 3, 3}, nil},
		"one broker":      {Plan{Topic: "t"}, Layout{5, 1, 1}, nil},
		"few replicas":    {Plan{Topic: "t"}, Layout{5, 1, 3}, []string{"1 replicas on 3 brokers"}},
		"fewer than told": {Plan{Topic: "t", Replication: 4}, Layout{5, 3, 5}, []string{"3 replicas, not 4"}},
		"partitions":      {Plan{Topic: "t", Partitions: 6}, Layout{5, 3, 3}, []string{"5 partitions, not 6"}},
	} {
		found := c.plan.Compare(c.is)
		t.Run(name, func(t *testing.T) { matches(t, "warning", found.Warnings, c.want) })
	}
}
