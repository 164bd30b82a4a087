package producer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"

	"smscancel/worker"
)

func TestAppendsKeepTheirOrderAndShareABatchWhileOneIsInFlight(t *testing.T) {
	b := newBench(t, 1, nil)
	w := b.writer(0)
	tries := b.tries()
	held, open := b.hold()
	receipts := []worker.Receipt{w.Append(outcomeAt(0, 0))}
	b.await("the first produce request", held)
	var want []string
	for i := range int64(200) {
		receipts = append(receipts, w.Append(outcomeAt(0, i+1)))
		want = append(want, fmt.Sprint(i))
	}
	want = append(want, "200")
	open()
	offsets := b.durable(receipts...)
	if got := sources(b.written(0)); got != strings.Join(want, " ") {
		t.Errorf("the log has the outcomes of %s", got)
	}
	if n := len(tries()); n != 2 {
		t.Errorf("%d produce requests, want one for the first append and one for all that came meanwhile", n)
	}
	for i := range offsets[1:] {
		if offsets[i+1] != offsets[i]+1 {
			t.Fatalf("append %d is said to stand at %d, the one before at %d", i+1, offsets[i+1], offsets[i])
		}
	}
	if w.Next() != offsets[200]+1 {
		t.Errorf("next is %d, the last outcome stands at %d", w.Next(), offsets[200])
	}
	o, err := w.Read(b.context(), offsets[77])
	if err != nil || o == nil || o.Source.Offset != 77 {
		t.Errorf("read back %+v, %v", o, err)
	}
}

// The broker has written the batch and its answer does not tell, or is lost.
func TestAmbiguousProduceErrorWritesOnce(t *testing.T) {
	for name, break_ := range map[string]func(*bench){
		"error 7 after the write, twice": func(b *bench) { b.fail(kerr.RequestTimedOut, kerr.RequestTimedOut) },
		"error 20":                       func(b *bench) { b.fail(kerr.NotEnoughReplicasAfterAppend) },
		"the connection is lost, twice":  func(b *bench) { b.wire.lose.Store(2) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 1, nil)
			w := b.writer(0)
			b.durable(w.Append(outcomeAt(0, 1)))
			tries := b.tries()
			break_(b)
			b.durable(w.Append(outcomeAt(0, 2)))
			resent := tries()
			b.durable(w.Append(outcomeAt(0, 3)))
			if got := sources(b.written(0)); got != "1 2 3" {
				t.Errorf("the log has the outcomes of %s", got)
			}
			if len(resent) < 2 {
				t.Fatalf("%d tries", len(resent))
			}
			for _, try := range resent[1:] {
				if !bytes.Equal(try, resent[0]) {
					t.Error("a later try has other bytes than the first")
				}
			}
		})
	}
}

func TestRefusalsThatPassAreTriedAgain(t *testing.T) {
	b := newBench(t, 1, nil)
	w := b.writer(0)
	faults := b.fail(kerr.TopicAuthorizationFailed, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition, kerr.CorruptMessage)
	b.durable(w.Append(outcomeAt(0, 1)), w.Append(outcomeAt(0, 2)))
	if got := sources(b.written(0)); got != "1 2" || faults.Hits() != 7 {
		t.Errorf("after %d faults the log has the outcomes of %s", faults.Hits(), got)
	}
}

func TestDefiniteProduceErrorsEndTheWriter(t *testing.T) {
	for _, c := range []struct {
		code *kerr.Error
		want error
	}{
		{kerr.InvalidProducerEpoch, worker.ErrFenced}, {kerr.ProducerFenced, worker.ErrFenced},
		{kerr.OutOfOrderSequenceNumber, ErrStateLost}, {kerr.UnknownProducerID, ErrStateLost},
		{kerr.InvalidProducerIDMapping, ErrStateLost},
	} {
		t.Run(c.code.Message, func(t *testing.T) {
			b := newBench(t, 1, nil)
			w := b.writer(0)
			b.fail(c.code)
			if _, err := w.Append(outcomeAt(0, 1)).Wait(b.context()); !errors.Is(err, c.want) {
				t.Errorf("the append ended with %v, want %v", err, c.want)
			}
			b.await("the end of the writer", w.Failed())
			if !errors.Is(w.Err(), c.want) {
				t.Errorf("the writer ended with %v, want %v", w.Err(), c.want)
			}
			if _, err := w.Append(outcomeAt(0, 2)).Wait(b.context()); !errors.Is(err, c.want) {
				t.Errorf("an append after the end: %v, want %v", err, c.want)
			}
			if got := sources(b.written(0)); got != "" {
				t.Errorf("the log has the outcomes of %s", got)
			}
		})
	}
}

func TestZombieIsFencedByItsSuccessor(t *testing.T) {
	b := newBench(t, 1, nil)
	zombie := b.writer(0)
	b.durable(zombie.Append(outcomeAt(0, 1)))
	heir := b.writer(0)
	if _, err := zombie.Append(outcomeAt(0, 2)).Wait(b.context()); !errors.Is(err, worker.ErrFenced) {
		t.Errorf("the zombie's append ended with %v", err)
	}
	b.durable(heir.Append(outcomeAt(0, 3)))
	if got := sources(b.written(0)); got != "1 3" {
		t.Errorf("the log has the outcomes of %s", got)
	}
	if other := b.writer(1); other.Err() != nil {
		t.Errorf("another source cannot be taken: %v", other.Err())
	}
	if err := heir.Prove(b.context()); err != nil {
		t.Errorf("taking another source fenced this one: %v", err)
	}
}

// Error 48: a transaction of ours was left open by a lost answer. Until the batch
// is sent again, the writer says what the trouble is.
func TestOwnOpenTransactionIsEndedAndTheBatchSentAgain(t *testing.T) {
	b := newBench(t, 1, nil)
	w := b.writer(0)
	if err := w.coord.addPartition(b.context()); err != nil {
		t.Fatal(err)
	}
	tries := 0
	held, open := b.holdBatch(func([]byte) bool { tries++; return tries == 2 })
	receipt := w.Append(outcomeAt(0, 1))
	b.await("the second try", held)
	if err := w.Trouble(); !errors.Is(err, kafka.InvalidTransactionState) {
		t.Errorf("the trouble is %v", err)
	}
	open()
	b.durable(receipt)
	if got := sources(b.written(0)); got != "1" {
		t.Errorf("the log has the outcomes of %s", got)
	}
}

func TestProveTellsWhetherTheLedgerIsStillOurs(t *testing.T) {
	b := newBench(t, 1, nil)
	w := b.writer(0)
	before := *w.proven.Load()
	if err := w.Prove(b.context()); err != nil || !w.proven.Load().After(before) {
		t.Errorf("proof %v, from %v to %v", err, before, *w.proven.Load())
	}
	b.writer(0)
	if err := w.Prove(b.context()); !errors.Is(err, worker.ErrFenced) {
		t.Errorf("after another took over: %v", err)
	}
	b.await("the end of the fenced writer", w.Failed())
	if err := w.Prove(b.context()); !errors.Is(err, worker.ErrFenced) {
		t.Errorf("asked again: %v", err)
	}
}

// A write proves that nobody fenced us at the moment it was sent, no later.
func TestStalledAndProvenFollowTheAcknowledgement(t *testing.T) {
	b := newBench(t, 1, nil)
	w := b.writer(0)
	if w.Stalled() != 0 {
		t.Error("stalled without an append")
	}
	fenced := *w.proven.Load()
	held, open := b.hold()
	receipt := w.Append(outcomeAt(0, 1))
	b.await("the produce request", held)
	if w.Stalled() <= 0 || *w.proven.Load() != fenced {
		t.Errorf("in flight: stalled %s, proven moved by %s", w.Stalled(), w.proven.Load().Sub(fenced))
	}
	arrived := time.Now()
	open()
	b.durable(receipt)
	if w.Stalled() != 0 {
		t.Errorf("stalled %s after the acknowledgement", w.Stalled())
	}
	if at := *w.proven.Load(); !at.After(fenced) || at.After(arrived) {
		t.Errorf("proven at %v; sent after %v and before %v", at, fenced, arrived)
	}
}

func TestCloseResolvesEveryReceiptTruthfully(t *testing.T) {
	b := newBench(t, 1, nil)
	w := b.writer(0)
	held, open := b.hold()
	first := w.Append(outcomeAt(0, 0))
	b.await("a produce request", held)
	const callers, each = 8, 50
	receipts := make([][]worker.Receipt, callers)
	var done, started sync.WaitGroup
	for c := range callers {
		started.Add(1)
		done.Go(func() {
			for i := range each {
				receipts[c] = append(receipts[c], w.Append(outcomeAt(0, int64(1+c*each+i))))
				if i == each/2 {
					started.Done()
				}
			}
		})
	}
	started.Wait()
	w.Close()
	done.Wait()
	open()
	if _, err := first.Wait(b.context()); !errors.Is(err, ErrClosed) {
		t.Errorf("the append in flight ended with %v", err)
	}
	for _, all := range receipts {
		for _, r := range all {
			if _, err := r.Wait(b.context()); !errors.Is(err, ErrClosed) {
				t.Fatalf("a queued append ended with %v", err)
			}
		}
	}
	if err := w.Prove(b.context()); !errors.Is(err, ErrClosed) {
		t.Errorf("proof after the end: %v", err)
	}
}
