package integration

import (
	"fmt"
	"testing"
	"time"

	"smscancel/integration/kafkatest"
	"smscancel/worker"
)

// Fault: two groups handle the same topics at the same time. Promise: they fence
// each other, both count it, say so and are unready while they wait; they take
// turns, so progress goes on; every request has its one outcome, and no call is
// repeated but those that a fence has cut.
func TestTwoGroupsOnTheSameTopicsTakeTurns(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	total := length(900, 9_000) // at 50 a second
	w := newWorld(t, kafkatest.Shared(t), 2, slow(20*time.Millisecond))
	flags := []string{"--rate-limit-total", "50"}
	one := w.start("one", flags...)
	w.waitRunning(one)
	w.ask(0, total)
	two := w.start("two", append(flags, "--group", w.group+".second")...)
	for _, r := range []*replica{one, two} {
		w.waitUnready(r, worker.ErrFenced.Error())
		w.eventually(r.name+" to count the fence", func() error {
			if r.metric("smscancel_fenced_total") == 0 {
				return errNotYet
			}
			return nil
		})
	}
	w.waitForOutcomes(total)
	fenced := fmt.Sprint(one.metric("smscancel_fenced_total"), " and ", two.metric("smscancel_fenced_total"))
	turns := one.logged(`"partition taken over"`) + two.logged(`"partition taken over"`)
	one.stop()
	two.stop()
	for _, r := range []*replica{one, two} {
		if r.logged(worker.ErrFenced.Error()) == 0 {
			t.Errorf("the log of %s does not say that it was fenced", r.name)
		}
	}
	found := w.audit()
	t.Logf("%d requests, %d takeovers, fenced %s times, %d calls, %d repeated; %v, %d ambiguous",
		total, turns, fenced, found.calls, w.checkRepeats(), found.byStatus, found.unclear)
}
