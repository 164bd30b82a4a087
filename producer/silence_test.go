package producer

import (
	"errors"
	"testing"
	"time"
)

// Promise: a writer that has not reached the broker for 12 hours, by either
// clock, writes nothing: the broker may have forgotten it, and with it the fence.
func TestAWriterThatWasSilentTooLongWritesNothing(t *testing.T) {
	for name, ago := range map[string]time.Time{
		"by the monotonic clock":            time.Now().Add(-maxSilence - time.Minute),
		"by the wall clock, asleep between": time.Now().Round(0).Add(-maxSilence - time.Minute),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1, nil)
			w := b.writer(0)
			w.proven.Store(&ago)
			if _, err := w.Append(outcomeAt(0, 1)).Wait(b.context()); !errors.Is(err, ErrStateLost) {
				t.Errorf("the append ended with %v", err)
			}
			if got := sources(b.written(0)); got != "" {
				t.Errorf("the log has the outcomes of %s", got)
			}
		})
	}
}

// Promise: markers count as the age of a ledger. An idle partition whose
// outcomes were all deleted is not taken for one that may have lost them now.
func TestALedgerOfMarkersAloneHasAnAge(t *testing.T) {
	b := newBench(t, 1, nil)
	before := time.Now().Add(-time.Second)
	b.writer(0)
	bounds, err := b.Bounds(b.context(), 0, time.Now())
	if err != nil || bounds.Oldest.Before(before) || bounds.Oldest.After(time.Now().Add(time.Second)) {
		t.Errorf("oldest is %v, %v; the marker was written after %v", bounds.Oldest, err, before)
	}
}
