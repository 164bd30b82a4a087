package producer

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sound are settings that nobody objects to.
func sound(changes ...string) map[string]string {
	all := map[string]string{
		"cleanup.policy": "delete", "retention.ms": "1209600000", "retention.bytes": "-1",
		"message.timestamp.type": "LogAppendTime", "max.message.bytes": "1048588",
	}
	for i := 0; i+1 < len(changes); i += 2 {
		all[changes[i]] = changes[i+1]
	}
	return all
}

func TestTopicSettingsThatBreakTheGuaranteesAreNamed(t *testing.T) {
	requests := map[string]string{"retention.ms": "604800000", "segment.ms": "86400000"}
	for _, c := range []struct {
		name            string
		outcomes        map[string]string
		requests        map[string]string
		fatal, warnings []string
	}{
		{"sound", sound(), requests, nil, nil},
		{"compaction", sound("cleanup.policy", "compact"), requests, []string{"cleanup.policy=compact"}, nil},
		{"compaction too", sound("cleanup.policy", "compact,delete"), requests, []string{"cleanup.policy"}, nil},
		{"a size limit", sound("retention.bytes", "1000000"), requests, []string{"retention.bytes=1000000"}, nil},
		{"retention below the window", sound("retention.ms", "3600000"), requests, []string{"retention.ms=3600000"}, []string{"handled again"}},
		{"retention for ever", sound("retention.ms", "-1"), map[string]string{"retention.ms": "-1"}, nil, nil},
		{"requests kept longer", sound("retention.ms", "604800000"), requests, nil, []string{"topic requests keeps requests"}},
		{"requests kept for ever", sound(), map[string]string{"retention.ms": "-1"}, nil, []string{"for ever"}},
		{"the producer's time", sound("message.timestamp.type", "CreateTime"), requests, nil, []string{"message.timestamp.type=CreateTime"}},
		{"small messages", sound("max.message.bytes", "100000"), requests, nil, []string{"max.message.bytes=100000"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, 1, c.outcomes)
			if err := b.cluster.CreateTopic(requestTopic, 1, c.requests); err != nil {
				t.Fatal(err)
			}
			found, err := b.CheckTopic(b.context(), 24*time.Hour, []string{requestTopic})
			if err != nil {
				t.Fatal(err)
			}
			matches(t, "fatal", found.Fatal, c.fatal)
			matches(t, "warning", found.Warnings, c.warnings)
		})
	}
}

// matches expects one text for each fragment.
func matches(t *testing.T, kind string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%ss %q, want %q", kind, got, want)
		return
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("%s %q does not say %q", kind, got[i], want[i])
		}
	}
}

func TestReplicatedTopicIsAdvisedOfWhatLosesOutcomes(t *testing.T) {
	for _, c := range []struct {
		replicas int
		settings config
		want     []string
	}{
		{1, config{"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}, nil},
		{3, config{"min.insync.replicas": "2", "unclean.leader.election.enable": "false"}, nil},
		{3, config{"min.insync.replicas": "1", "unclean.leader.election.enable": "true"}, []string{"min.insync.replicas=1", "unclean"}},
		{3, config{}, nil},
	} {
		var found Settings
		found.checkReplication("o", "outcomes", c.settings, c.replicas)
		matches(t, "warning", found.Warnings, c.want)
	}
}

func TestSettingsThatMayNotBeReadAreAWarning(t *testing.T) {
	b := newBench(t, 1, nil)
	b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	found, err := b.CheckTopic(b.context(), time.Hour, nil)
	if err != nil || len(found.Fatal) > 0 {
		t.Errorf("%v, %v", found.Fatal, err)
	}
	matches(t, "warning", found.Warnings, []string{"may not be read"})
}
