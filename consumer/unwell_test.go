package consumer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/worker"
)

// Fault: the coordinator refuses every commit, so no lease can be raised.
// Promise: the partition says so and is not ready, but only after a while.
func TestRefusedCommitsMakeAReplicaUnready(t *testing.T) {
	s := newStage(t, 1)
	r := s.start(newAPI().call)
	s.publish(0, 0, 5)
	s.committedAt(0, 5)
	r.mu.Lock()
	h := r.holds[topicPartition{topic, 0}]
	r.mu.Unlock()
	session, _ := h.current()
	s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.OffsetMetadataTooLarge, Count: -1})
	s.publish(0, 5, 10)
	s.eventually("a refused commit", func() error {
		if session.refused.Load() == nil {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	if why := session.unwell(); why != "" {
		t.Errorf("unready at once: %s", why)
	}
	session.refused.Store(&trouble{time.Now().Add(-2 * unwellAfter), session.refused.Load().err})
	if now := r.report(); now.Ready || !strings.Contains(now.Reason, "commits are refused") || !strings.Contains(now.Reason, "Metadata") {
		t.Errorf("ready %v, reason %q", now.Ready, now.Reason)
	}
}

// Fault: the permission to write outcomes is taken away. Promise: at once no call
// starts and the replica is unready and says what is missing; when it is given
// back, the calls are made.
func TestNoCallStartsWithoutThePermissionToWrite(t *testing.T) {
	s := newStage(t, 1)
	missing := fmt.Errorf("write to topic outcomes: %w", worker.ErrNotPermitted)
	s.book.trouble.Store(&missing)
	api := newAPI()
	r := s.start(api.call)
	s.publish(0, 0, 5)
	s.eventually("calls that wait for the ledger", func() error {
		r.mu.Lock()
		h := r.holds[first]
		r.mu.Unlock()
		if h == nil {
			return fmt.Errorf("not assigned")
		}
		if session, _ := h.current(); session == nil || session.blocked.Load() < 5 {
			return fmt.Errorf("not all wait yet")
		}
		return nil
	})
	if now := r.report(); now.Ready || !strings.Contains(now.Reason, missing.Error()) {
		t.Errorf("ready %v, reason %q", now.Ready, now.Reason)
	}
	if _, calls := api.called(); calls > 0 {
		t.Errorf("%d calls whose outcome could not be written", calls)
	}
	s.book.trouble.Store(nil)
	s.settled(5)
	s.once(0, 5)
}

// Fault: a member loses its coordinator. Promise: it is unready before its first
// generation and when it is out of the group for long, and not at once.
func TestAReplicaOutOfTheGroupIsUnreadyAfterAWhile(t *testing.T) {
	s := newStage(t, 1)
	r := s.consumer(newAPI().call)
	if now := r.report(); now.Ready || !strings.Contains(now.Reason, "not joined yet") {
		t.Errorf("before it has joined: ready %v, reason %q", now.Ready, now.Reason)
	}
	s.run(r)
	s.running(r, 1)
	s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat, kmsg.JoinGroup}, Err: kerr.NotCoordinator, Count: -1})
	s.eventually("the replica to be out of the group", func() error {
		if r.log.line("not in the group") == "" {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	if now := r.report(); !now.Ready {
		t.Errorf("unready at once: %s", now.Reason)
	}
	r.mu.Lock()
	r.outside = r.outside.Add(-r.SessionTimeout - 2*unwellAfter)
	r.mu.Unlock()
	if now := r.report(); now.Ready || !strings.Contains(now.Reason, "out of the group") || !strings.Contains(now.Reason, "Not Coordinator") {
		t.Errorf("ready %v, reason %q", now.Ready, now.Reason)
	}
}

// Fault: a partition cannot be read. Promise: it says why, and is not ready, but
// only after a while.
func TestAPartitionThatCannotBeReadSaysWhy(t *testing.T) {
	s := newStage(t, 1)
	r := s.start(newAPI().call)
	s.publish(0, 0, 5)
	s.committedAt(0, 5)
	r.mu.Lock()
	session, _ := r.holds[topicPartition{topic, 0}].current()
	r.mu.Unlock()
	storage := s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.KafkaStorageError, Count: -1})
	s.eventually("a fetch to fail", func() error {
		if session.unread.Load() == nil {
			return fmt.Errorf("none has yet")
		}
		return nil
	})
	if why := session.unwell(); why != "" {
		t.Errorf("unready at once: %s", why)
	}
	session.unread.Store(&trouble{time.Now().Add(-2 * unwellAfter), session.unread.Load().err})
	if now := r.report(); now.Ready || !strings.Contains(now.Reason, "requests cannot be read since ") || !strings.Contains(now.Reason, "Storage") {
		t.Errorf("ready %v, reason %q", now.Ready, now.Reason)
	}
	storage.Remove()
	s.eventually("the partition to be well", func() error {
		if now := r.report(); !now.Ready {
			return fmt.Errorf("%s", now.Reason)
		}
		return nil
	})
}
