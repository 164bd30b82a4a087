package producer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/worker"
)

// small is a topic that takes two or three outcomes at a time.
var small = map[string]string{"max.message.bytes": "2500"}

func TestBatchTooLargeIsSplitAndNothingIsLost(t *testing.T) {
	b := newBench(t, 1, small)
	w := b.writer(0)
	held, open := b.hold()
	receipts := []worker.Receipt{w.Append(outcomeAt(0, 0))}
	b.await("the first produce request", held)
	want := []string{"0"}
	for i := range int64(41) {
		receipts = append(receipts, w.Append(outcomeAt(0, i+1)))
		want = append(want, fmt.Sprint(i+1))
	}
	open()
	b.durable(receipts...)
	if got := sources(b.written(0)); got != strings.Join(want, " ") {
		t.Errorf("the log has the outcomes of %s", got)
	}
	next := int32(0)
	for _, batch := range b.batches(0) {
		if batch.Control {
			continue
		}
		if batch.BaseSequence != next {
			t.Errorf("batch at %d has sequence %d, want %d", batch.BaseOffset, batch.BaseSequence, next)
		}
		next = nextSequence(next, int(batch.LastOffset-batch.BaseOffset)+1)
	}
}

func TestOutcomeTooLargeGivesUpItsValueThenItsMetadata(t *testing.T) {
	b := newBench(t, 1, small)
	w := b.writer(0)
	rec := requestAt(0, 1)
	rec.Value = []byte(strings.Repeat("x", 5000))
	rejected := worker.RejectedOutcome(rec, &worker.Rejection{Field: "value", Reason: "is not valid JSON"}, "c")
	rejected.Metadata = map[string]string{"kept": "yes"}
	fat := outcomeAt(0, 2)
	fat.Metadata = map[string]string{"note": strings.Repeat("y", 4000)}
	b.durable(w.Append(rejected), w.Append(fat), w.Append(outcomeAt(0, 3)))
	got := b.written(0)
	if sources(got) != "1 2 3" {
		t.Fatalf("the log has the outcomes of %s", sources(got))
	}
	if o := got[0]; o.Source.Value != nil || !o.Source.Truncated || o.Metadata["kept"] != "yes" {
		t.Errorf("the rejected one came out with %d bytes of value, truncated %t, metadata %v", len(o.Source.Value), o.Source.Truncated, o.Metadata)
	}
	if o := got[1]; o.Metadata != nil || o.Status != worker.StatusCancelled {
		t.Errorf("the large one came out with %d metadata, %s", len(o.Metadata), o.Status)
	}
	if fat.Metadata == nil || rejected.Source.Value == nil {
		t.Error("the caller's outcome was changed")
	}
}

// Fault: an outcome from which nothing can be left out is larger than the topic
// takes, three times. Promise: it is not given up, for its call would then be made
// again: it waits, the writer says for what, and writes it once the topic takes it.
func TestOutcomeThatCannotShrinkWaitsUntilTheTopicTakesIt(t *testing.T) {
	b := newBench(t, 1, nil)
	var log bytes.Buffer
	b.Log = zerolog.New(&log)
	w := b.writer(0)
	b.fail(kerr.MessageTooLarge, kerr.MessageTooLarge, kerr.MessageTooLarge)
	b.durable(w.Append(outcomeAt(0, 1)))
	b.durable(w.Append(outcomeAt(0, 2)))
	if got := sources(b.written(0)); got != "1 2" {
		t.Errorf("the log has the outcomes of %s", got)
	}
	if w.Err() != nil || w.Trouble() != nil {
		t.Errorf("afterwards the writer is in trouble: %v, %v", w.Err(), w.Trouble())
	}
	w.Close()
	if n := strings.Count(log.String(), "raise its max.message.bytes"); n != 1 {
		t.Errorf("it was said %d times what to do: %s", n, log.String())
	}
}

// After a try that may have been written, the sequence is not free: split
// halves would be taken for repetitions of it. A leader that steps down answers
// "not the leader" to a batch that it has appended, and that may be replicated.
func TestSequenceIsNotUsedAgainAfterAnAmbiguousTry(t *testing.T) {
	for open, log := range map[*kerr.Error]string{ // what the embedded broker writes before it answers so
		kerr.RequestTimedOut: "1", kerr.NotEnoughReplicasAfterAppend: "1", kerr.NotLeaderForPartition: "",
	} {
		t.Run(open.Message, func(t *testing.T) {
			b := newBench(t, 1, nil)
			w := b.writer(0)
			b.fail(open, kerr.MessageTooLarge)
			_, err := w.Append(outcomeAt(0, 1)).Wait(b.context())
			if !errors.Is(err, ErrStateLost) {
				t.Errorf("ended with %v, want a takeover whose replay decides", err)
			}
			if got := sources(b.written(0)); got != log {
				t.Errorf("the log has the outcomes of %q, want %q", got, log)
			}
			if found := b.replay(b.writer(0)); len(found) != len(log) {
				t.Errorf("the replay finds %+v", found)
			}
		})
	}
}

// The second half of a split batch is in flight when the first one is acknowledged.
func TestSplitBatchIsStalledUntilItsLastPartIsAcknowledged(t *testing.T) {
	b := newBench(t, 1, nil)
	w := b.writer(0)
	held, open := b.hold()
	first := w.Append(outcomeAt(0, 1))
	b.await("the first produce request", held)
	second, third := w.Append(outcomeAt(0, 2)), w.Append(outcomeAt(0, 3))
	b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, When: func(req kmsg.Request) bool {
		return holdsEntries(batchOf(req)) == 2
	}})
	atHalf, openHalf := b.holdBatch(func(batch []byte) bool {
		return holdsEntries(batch) == 1 && bytes.Contains(batch, []byte("umid-3"))
	})
	open()
	b.durable(first, second)
	b.await("the produce request of the second half", atHalf)
	if w.Stalled() <= 0 {
		t.Error("not stalled, with an append in flight")
	}
	openHalf()
	b.durable(third)
	if w.Stalled() != 0 {
		t.Errorf("stalled %s after the last acknowledgement", w.Stalled())
	}
}
