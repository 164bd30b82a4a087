package consumer

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fault: a member loses its coordinator and does not find it at the first try.
// Promise: it does not leave the group, so its partitions stay where they are;
// it leaves when it is stopped.
func TestAMemberWithoutACoordinatorDoesNotLeaveTheGroup(t *testing.T) {
	s := newStage(t, 4)
	caller := newAPI()
	member, other := s.consumer(caller.call), s.consumer(caller.call)
	member.SessionTimeout, other.SessionTimeout = time.Second, time.Second // an old member id lingers for so long
	s.run(member)
	s.running(member, 4)
	s.run(other)
	s.running(member, 2)
	s.running(other, 2)
	epochs, generation := s.epochs(4), member.report().Generation
	left := s.count(kmsg.LeaveGroup)
	s.refuseOnce(kmsg.FindCoordinator, func(req kmsg.Request) kmsg.Response {
		if req.GetVersion() != 0 { // of the client, not of the member
			return nil
		}
		res := kmsg.NewPtrFindCoordinatorResponse()
		res.ErrorCode = kerr.CoordinatorNotAvailable.Code
		return res
	})
	s.refuseOnce(kmsg.Heartbeat, func(kmsg.Request) kmsg.Response {
		res := kmsg.NewPtrHeartbeatResponse()
		res.ErrorCode = kerr.NotCoordinator.Code
		return res
	})
	s.eventually("a member to be out of the group, and back", func() error {
		if member.log.line("not in the group")+other.log.line("not in the group") == "" {
			return fmt.Errorf("it has lost nothing yet")
		}
		for _, r := range []*replica{member, other} {
			if now := r.report().Generation; now <= generation {
				return fmt.Errorf("the last generation is still %d", now)
			}
		}
		return nil
	})
	if n := left.Load(); n > 0 {
		t.Errorf("%d members have left the group", n)
	}
	if now := s.epochs(4); now != epochs {
		t.Errorf("partitions were taken over: epochs %s, then %s", epochs, now)
	}
	member.stop()
	if n := left.Load(); n != 1 {
		t.Errorf("%d members have left the group, one was stopped", n)
	}
}

// A member joins while it still drains a partition, which therefore nobody gets,
// and has released it before it learns so. Promise: it joins again, without the
// claim; otherwise nobody would work on the partition until some other rebalance.
func TestAPartitionThatIsReleasedDuringAJoinFindsAnOwner(t *testing.T) {
	r := newStage(t, 1).consumer(nil)
	tp := topicPartition{topic, 0}
	handsOver := func(generation int32) bool {
		released := r.assign(&kafka.Generation{ID: generation}, nil, nil)
		if released == nil {
			return false
		}
		<-released
		return true
	}
	r.mu.Lock()
	r.holds[tp] = r.newHold(tp)
	r.mu.Unlock()
	r.claims() // it joins
	r.mu.Lock()
	delete(r.holds, tp)
	r.mu.Unlock()
	if !handsOver(1) {
		t.Error("it does not join again, although nobody was given the partition")
	}
	r.claims()
	if handsOver(2) {
		t.Error("it joins again for no reason")
	}
}

func (s *stage) epochs(partitions int) string {
	var all []int16
	for p := range partitions {
		all = append(all, s.book.epoch(topicPartition{topic, p}))
	}
	return fmt.Sprint(all)
}

// count counts the requests of a kind from now on.
func (s *stage) count(key kmsg.Key) *atomic.Int32 {
	var n atomic.Int32
	s.cluster.ControlKey(key.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.cluster.KeepControl()
		n.Add(1)
		return nil, nil, false
	})
	return &n
}

// refuseOnce answers the first request of a kind for which there is an answer.
func (s *stage) refuseOnce(key kmsg.Key, answer func(kmsg.Request) kmsg.Response) {
	s.cluster.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		res := answer(req)
		if res == nil {
			return nil, nil, false
		}
		res.SetVersion(req.GetVersion())
		return res, nil, true
	})
}
