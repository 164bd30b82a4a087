package consumer

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fault: a request topic does not exist, or no longer. Promise: the replica says
// so and is unready, asks again once a second and not as fast as the group can
// rebalance, and takes the topic's requests once it is there.
func TestAMissingTopicIsWaitedForAtLeisure(t *testing.T) {
	s := newStage(t, 1)
	joins := s.joins()
	r := s.consumer(newAPI().call)
	r.Topics = []string{topic, "later"}
	s.run(r)
	<-joins // of a member without an id
	first := <-joins
	<-joins
	if third := <-joins; third.Sub(first) < 2*time.Second {
		t.Errorf("three joins within %s", third.Sub(first))
	}
	if now := r.report(); now.Ready || !strings.Contains(now.Reason, "later") {
		t.Errorf("ready %v, reason %q", now.Ready, now.Reason)
	}
	if err := s.cluster.CreateTopic("later", 1, nil); err != nil {
		t.Fatal(err)
	}
	s.publish(0, 0, 5)
	s.settled(5)
}

// Promise: a partition that is added to a request topic is taken by the replica
// that runs.
func TestPartitionsThatAreAddedAreTaken(t *testing.T) {
	s := newStage(t, 1)
	r := s.start(newAPI().call)
	s.running(r, 1)
	res, err := createPartitions(topic, 2).RequestWith(t.Context(), s.client())
	if err != nil || res.Topics[0].ErrorCode != 0 {
		t.Fatal(err, res)
	}
	s.running(r, 2)
}

func createPartitions(topic string, n int32) *kmsg.CreatePartitionsRequest {
	req := kmsg.NewPtrCreatePartitionsRequest()
	t := kmsg.NewCreatePartitionsRequestTopic()
	t.Topic, t.Count = topic, n
	req.Topics = append(req.Topics, t)
	return req
}

// joins tells when members join the group from now on.
func (s *stage) joins() <-chan time.Time {
	joins := make(chan time.Time, 1000)
	s.cluster.ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.cluster.KeepControl()
		select {
		case joins <- time.Now():
		default:
		}
		return nil, nil, false
	})
	return joins
}

// Fault: the leader assigned while a topic was missing, and it was there again when
// the members read its partitions. Promise: that is noticed, and the group comes
// together again, instead of staying without work for ever.
func TestATopicThatWasMissingWhenPartitionsWereAssignedIsNotForgotten(t *testing.T) {
	s := newStage(t, 1)
	c := s.consumer(newAPI().call).Consumer
	if err := c.readPartitions(t.Context()); err != nil {
		t.Fatal(err)
	}
	(&balancer{saw: c.assigns}).AssignGroups(nil, nil)
	select {
	case <-c.watchRequestTopics(t.Context()):
	case <-t.Context().Done():
	}
	if c.assignedOf.Load() != nil {
		t.Error("what one generation was assigned of counts for the next one, too")
	}
}
