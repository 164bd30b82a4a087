package consumer

import (
	"errors"
	"testing"

	"github.com/segmentio/kafka-go"
)

// Fault: a member that the coordinator does not know asks whether it owns its
// partition; it was evicted. Promise: it hears no, so that it fences nobody.
func TestAMemberThatWasEvictedHearsSo(t *testing.T) {
	s := newStage(t, 1)
	r := s.consumer(nil)
	s.run(r)
	s.running(r, 1)
	r.mu.Lock()
	group, generation, member := r.member.GroupID, r.member.ID, r.member.MemberID
	r.mu.Unlock()
	if err := Heartbeat(t.Context(), r.Client, group, generation, member); err != nil {
		t.Errorf("a member: %v", err)
	}
	if err := Heartbeat(t.Context(), r.Client, group, generation-1, member); !errors.Is(err, kafka.IllegalGeneration) {
		t.Errorf("a generation that is over: %v", err)
	}
	tp := topicPartition{topic, 0}
	evicted := Consumer{Config: r.Config, member: &kafka.Generation{GroupID: group, ID: generation, MemberID: "evicted"}, assigned: map[topicPartition]bool{tp: true}}
	if err := evicted.confirmNow(t.Context(), tp); !errors.Is(err, kafka.UnknownMemberId) {
		t.Errorf("a takeover by a member that was evicted: %v", err)
	}
}
