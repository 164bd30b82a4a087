package schedule

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"smscancel/integration/checker"
)

// setBack is an operator who stops the group, sets its offsets back and starts
// it again.
func (w *world) setBack(e *Event) {
	var stopped []*replica
	w.each(-1, func(r *replica) {
		r.stop()
		stopped = append(stopped, r)
	})
	w.background.Go(func() {
		for _, r := range stopped {
			<-r.done
		}
		w.commitBack(rand.New(rand.NewPCG(w.plan.Seed, uint64(e.At))))
		for _, r := range stopped {
			w.start(r.slot)
		}
	})
}

// commitBack commits offsets below those that stand there, some with their
// metadata, as a tool that copies commits would. A group that is not empty
// refuses it; after a while the operator gives up.
func (w *world) commitBack(dice *rand.Rand) {
	offsets := kadm.Offsets{}
	if info := w.cluster.GroupInfo(group); info != nil {
		for topic, partitions := range info.Commits {
			for p, was := range partitions {
				if was.Offset > 0 {
					offsets.Add(kadm.Offset{Topic: topic, Partition: p, At: dice.Int64N(was.Offset), LeaderEpoch: -1,
						Metadata: [...]string{was.Metadata, "", `{"tool":"offsets by hand"}`}[dice.IntN(3)]})
				}
			}
		}
	}
	admin := kadm.NewClient(w.client)
	for range 60 {
		if admin.CommitAllOffsets(context.Background(), group, offsets) == nil {
			w.noteSetBack(offsets)
			return
		}
		time.Sleep(time.Second)
	}
}

func (w *world) noteSetBack(offsets kadm.Offsets) {
	w.tale.tell("the offsets of %d partitions are set back", len(offsets.Sorted()))
	w.mu.Lock()
	defer w.mu.Unlock()
	offsets.Each(func(o kadm.Offset) {
		w.commits = append(w.commits, checker.Commit{Topic: o.Topic, Partition: int(o.Partition), Offset: o.At, Metadata: o.Metadata, At: time.Now()})
	})
}
