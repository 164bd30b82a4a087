package consumer

import (
	"testing"

	"github.com/segmentio/kafka-go"
)

// Fault: a member that was paused takes part in the group again, after a
// generation without it. Promise: for a partition that it held and that may have
// another owner since, it commits nothing; for one that it had to give up in the
// generation that followed its last it does, and for one that it is given anew.
func TestAMemberThatWasAbsentCommitsNothingForWhatItHeld(t *testing.T) {
	s := newStage(t, 1)
	s.commitAs(nil, metadata{}, 0, "") // the group exists
	r := s.consumer(newAPI().call)
	session, _, err := r.takeOver(first)
	if err != nil {
		t.Fatal(err)
	}
	h := r.newHold(first)
	h.attach(session)
	h.set(StateDraining, "")
	t.Cleanup(session.close)
	r.holds[first] = h
	enter := func(generation int32, given bool) int {
		gen := &kafka.Generation{ID: generation, GroupID: group}
		r.enter(gen)
		if given {
			r.assign(gen, []topicPartition{first}, nil)
		}
		return len(r.drafts())
	}
	if n := enter(1, true); n != 1 {
		t.Errorf("%d commits for a partition that was assigned", n)
	}
	r.assigned = map[topicPartition]bool{}
	if n := enter(2, false); n != 1 {
		t.Errorf("%d commits for a partition that nobody else can have yet", n)
	}
	if n := enter(4, false); n != 0 {
		t.Errorf("%d commits after a generation without this member", n)
	}
	if n := enter(5, false); n != 0 {
		t.Errorf("%d commits one generation later", n)
	}
	if n := enter(6, true); n != 1 {
		t.Errorf("%d commits for a partition that was assigned anew", n)
	}
}
