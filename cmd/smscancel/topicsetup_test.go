package main

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/integration/broker"
)

// emptyBroker is an embedded broker without topics, and a client of it.
func emptyBroker(t *testing.T) (*broker.Broker, *kafka.Client) {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	require.NoError(t, err)
	transport := &kafka.Transport{}
	t.Cleanup(func() { transport.CloseIdleConnections(); b.Close() })
	return b, &kafka.Client{Addr: kafka.TCP(b.Addr()), Transport: transport}
}

func TestTopicsAreCreatedOnceAndThenVerified(t *testing.T) {
	b, _ := emptyBroker(t)
	topics := func(args ...string) result {
		return smscancel(t, nil, append([]string{"topics", "--brokers", b.Addr(), "--request-topic", "urgent,bulk"}, args...)...)
	}
	settings := "12 partitions, 1 replicas, cleanup.policy=delete retention.ms=604800000 retention.bytes=-1 message.timestamp.type=CreateTime max.message.bytes=1048588\n"
	outcomes := "sms.cancel.outcomes: 6 partitions, 1 replicas, cleanup.policy=delete retention.ms=1209600000 retention.bytes=-1 message.timestamp.type=LogAppendTime max.message.bytes=1048588\n"
	assert.Equal(t, result{stdout: "would be created urgent: " + settings + "would be created bulk: " + settings + "would be created " + outcomes},
		topics("--dry-run", "--outcome-partitions", "6"))
	assert.Equal(t, result{stdout: "created          urgent: " + settings + "created          bulk: " + settings + "created          " + outcomes},
		topics("--outcome-partitions", "6"))
	there := "is there         urgent: 12 partitions, 1 replicas\nis there         bulk: 12 partitions, 1 replicas\nis there         sms.cancel.outcomes: 6 partitions, 1 replicas\n"
	assert.Equal(t, result{stdout: there}, topics())
	got := topics("--partitions", "24")
	assert.Equal(t, exitDone, got.code)
	assert.Contains(t, got.stdout, "warning          topic urgent has 12 partitions, not 24: ")
}

// Fault: the leader of a topic that was just made does not know it yet. Promise:
// the command waits for it.
func TestTopicsWaitsForTheLeadersOfWhatItMade(t *testing.T) {
	b, _ := emptyBroker(t)
	var refused atomic.Int32
	b.Cluster.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		b.Cluster.KeepControl()
		if refused.Add(1) > 3 {
			return nil, nil, false
		}
		answer := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, topic := range req.(*kmsg.ListOffsetsRequest).Topics {
			of := kmsg.NewListOffsetsResponseTopic()
			of.Topic = topic.Topic
			for _, partition := range topic.Partitions {
				one := kmsg.NewListOffsetsResponseTopicPartition()
				one.Partition, one.ErrorCode = partition.Partition, int16(kafka.NotLeaderForPartition)
				of.Partitions = append(of.Partitions, one)
			}
			answer.Topics = append(answer.Topics, of)
		}
		return answer, nil, true
	})
	got := smscancel(t, nil, "topics", "--brokers", b.Addr())
	assert.Equal(t, exitDone, got.code, got.stderr)
	assert.Greater(t, refused.Load(), int32(3))
}

func TestWhatBreaksTheGuaranteesIsSaidAndFails(t *testing.T) {
	b, _ := emptyBroker(t)
	require.NoError(t, b.Cluster.CreateTopic(devRequestTopic, 1, map[string]string{"retention.bytes": "1000"}))
	require.NoError(t, b.Cluster.CreateTopic(devOutcomeTopic, 1, map[string]string{"cleanup.policy": "compact", "retention.ms": "3600000"}))
	got := smscancel(t, nil, "topics", "--brokers", b.Addr())
	assert.Equal(t, exitFailed, got.code)
	for _, want := range []string{
		"warning          topic sms.cancel.requests has retention.bytes=1000: a backlog beyond that is deleted unread; set it to -1\n",
		"BREAKS           topic sms.cancel.outcomes has cleanup.policy=compact: compaction deletes outcomes; set it to delete\n",
		"BREAKS           topic sms.cancel.outcomes has retention.ms=3600000 (1h0m0s), less than the dedupe window of 24h0m0s: ",
	} {
		assert.Contains(t, got.stdout, want)
	}
	assert.Equal(t, "smscancel: 2 settings break the guarantees: no worker starts with them\n", got.stderr)
}

func TestTopicsSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	b, _ := emptyBroker(t)
	for name, c := range map[string]struct {
		code int
		args []string
		want string
	}{
		"no broker":       {exitFailed, []string{"--brokers", "127.0.0.1:1"}, "127.0.0.1:1: .*connection refused"},
		"too few brokers": {exitFailed, []string{"--brokers", b.Addr(), "--replication", "3"}, "create topic sms.cancel.requests: .*: there are fewer brokers than that, use a smaller --replication"},
		"numbers":         {exitUsage, []string{"--brokers", b.Addr(), "--partitions", "-1"}, "--partitions: -1: it must be 0 \\(as usual\\) or more"},
		"retention":       {exitUsage, []string{"--brokers", b.Addr(), "--outcome-retention", "1h"}, "--outcome-retention: 1h0m0s: it must not be less than --dedupe-window"},
		"no flags":        {exitUsage, nil, "--brokers"},
	} {
		t.Run(name, func(t *testing.T) {
			got := smscancel(t, nil, append([]string{"topics"}, c.args...)...)
			assert.Equal(t, c.code, got.code)
			assert.Regexp(t, c.want, strings.TrimSpace(got.stderr))
		})
	}
}
