package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/worker"
)

// The log of every case: ten requests, offsets 0 to 9. The commit of a former
// owner: watermark 5, lease 7, the outcomes of what lies beyond from ledger
// offset 3 on, written under the epoch before the one gained now.
func TestTakeoverDecidesWhereToBeginAndWhatMayHaveBeenCalled(t *testing.T) {
	start := time.UnixMilli(1_700_000_000_000)
	for _, c := range []struct {
		name    string
		commit  func(*metadata) // changes to the good commit; nil = there is none
		at      int64           // committed offset, where it is not the metadata's
		text    string          // committed metadata, where it is not ours
		deleted int64           // requests that retention has deleted
		idle    []int16         // epochs in which this process held the ledger and called nothing
		fresh   bool            // nobody has held the ledger before
		settled int             // outcomes in the ledger, of the first requests
		bounds  func(worker.LedgerBounds) worker.LedgerBounds

		offset, lease int64
		from          int64 // replay start
		ahead         int   // outcomes found at or beyond the offset
		lost          float64
		err           error
		says          string
	}{
		{name: "nothing is there", fresh: true, offset: 0, lease: -1},
		{name: "nothing is there, but another group's member has been here", offset: 0, lease: leaseUnknown},
		{name: "nothing is there, and only this process has been here", idle: []int16{0, 1, 2, 3, 4}, offset: 0, lease: -1},
		{name: "no commit, but outcomes", settled: 4, offset: 0, lease: leaseUnknown, ahead: 4},
		{name: "a good commit", commit: func(*metadata) {}, settled: 7, offset: 5, lease: 7, from: 3, ahead: 2},
		{name: "a lease beyond the end", commit: func(m *metadata) { m.Lease = 1005 }, settled: 5, offset: 5, lease: 1005, from: 3},
		{name: "no lease", commit: func(m *metadata) { m.Lease = -1 }, settled: 5, offset: 5, lease: -1, from: 3},
		{name: "the dedupe window reaches further back", commit: func(*metadata) {}, settled: 5, offset: 5, lease: 7, from: 1,
			bounds: func(b worker.LedgerBounds) worker.LedgerBounds { b.Since = 1; return b }},
		{name: "another wrote in between", commit: func(m *metadata) { m.Epoch-- }, settled: 7, offset: 5, lease: leaseUnknown, from: 3, ahead: 2},
		{name: "only this process in between, and it called nothing", commit: func(m *metadata) { m.Epoch -= 2 }, idle: []int16{3, 4}, settled: 5, offset: 5, lease: 7, from: 3},
		{name: "this process in between, and one other", commit: func(m *metadata) { m.Epoch -= 2 }, idle: []int16{3}, settled: 5, offset: 5, lease: leaseUnknown, from: 3},
		{name: "a later owner has committed already", commit: func(m *metadata) { m.Epoch = 6 }, settled: 5, err: worker.ErrFenced, says: "epoch 6, ours is 5"},
		{name: "another producer id", commit: func(m *metadata) { m.PID++ }, settled: 5, offset: 5, lease: leaseUnknown, from: 3},
		{name: "another cluster's commit", commit: func(m *metadata) { m.ClusterID = "other" }, settled: 6, offset: 5, lease: leaseUnknown, ahead: 1},
		{name: "another outcome topic's commit", commit: func(m *metadata) { m.Outcomes = "other" }, settled: 6, offset: 5, lease: leaseUnknown, ahead: 1},
		{name: "a commit without our metadata", at: 5, text: "somebody's note", settled: 6, offset: 5, lease: leaseUnknown, ahead: 1},
		{name: "such a commit and an empty ledger", at: 5, text: "{}", fresh: true, offset: 5, lease: -1},
		{name: "an operator moved it backwards", commit: func(*metadata) {}, at: 2, settled: 6, offset: 2, lease: leaseUnknown, ahead: 4},
		{name: "an operator moved it forwards", commit: func(*metadata) {}, at: 8, settled: 6, offset: 8, lease: leaseUnknown},
		{name: "the record below the watermark is another", commit: func(m *metadata) { m.Last.Hash++ }, settled: 2, offset: 0, lease: leaseUnknown, ahead: 2},
		{name: "the watermark lies past the end", commit: func(m *metadata) { m.Offset, m.Last.Offset = 15, 14 }, settled: 2, offset: 0, lease: leaseUnknown, ahead: 2},
		{name: "it does, and nothing was below it", commit: func(m *metadata) { m.Offset, m.Last = 15, nil }, settled: 5, offset: 0, lease: leaseUnknown, ahead: 5},
		{name: "an operator's offset past the end", at: 15, settled: 2, offset: 0, lease: leaseUnknown, ahead: 2},
		{name: "retention overtook", commit: func(*metadata) {}, deleted: 8, settled: 5, offset: 8, lease: 7, from: 3, lost: 3},
		{name: "retention overtook, but one had its outcome", commit: func(*metadata) {}, deleted: 8, settled: 6, offset: 8, lease: 7, from: 3, lost: 2},
		{name: "retention took only what is settled", commit: func(*metadata) {}, deleted: 5, settled: 5, offset: 5, lease: 7, from: 3},
		{name: "no commit, and retention took some", fresh: true, deleted: 4, offset: 4, lease: -1},
		{name: "another ledger than was committed", commit: func(m *metadata) { m.Ledger = 1000 }, settled: 1, offset: 5, lease: leaseUnknown},
		{name: "another partition count", commit: func(m *metadata) { m.N = 3 }, settled: 5, err: &worker.PartitionCountError{}, says: "has 2 partitions, its outcomes were written with 3"},
		{name: "outcomes of the first requests are deleted", settled: 5, err: errLedgerTooShort, says: "2023-11-14T22:13:21.500Z or later",
			bounds: func(b worker.LedgerBounds) worker.LedgerBounds {
				b.First, b.Oldest = 3, start.Add(1500*time.Millisecond)
				return b
			}},
		{name: "all outcomes are deleted", err: errLedgerTooShort, says: "set the offset of group g to",
			bounds: func(worker.LedgerBounds) worker.LedgerBounds { return worker.LedgerBounds{First: 3, Since: 3, End: 3} }},
		{name: "outcomes beyond the watermark are deleted", commit: func(m *metadata) { m.Ledger = 1 }, settled: 8, err: errLedgerTooShort, says: "or later",
			bounds: func(b worker.LedgerBounds) worker.LedgerBounds {
				b.First, b.Oldest = 3, start.Add(time.Second)
				return b
			}},
		{name: "the stop was clean, but another wrote since", commit: func(m *metadata) { m.Ledger, m.Clean = 1, true; m.Epoch-- }, settled: 8, err: errLedgerTooShort, says: "or later",
			bounds: func(b worker.LedgerBounds) worker.LedgerBounds {
				b.First, b.Oldest = 3, start.Add(time.Second)
				return b
			}},
		{name: "there were none, for the stop was clean", commit: func(m *metadata) { m.Ledger, m.Clean = 1, true }, settled: 5, offset: 5, lease: 7, from: 3,
			bounds: func(b worker.LedgerBounds) worker.LedgerBounds {
				b.First, b.Oldest = 3, start.Add(time.Second)
				return b
			}},
		{name: "only outcomes of earlier requests are deleted", at: 6, settled: 8, offset: 6, lease: leaseUnknown, from: 3, ahead: 2,
			bounds: func(b worker.LedgerBounds) worker.LedgerBounds {
				b.First, b.Oldest = 3, start.Add(3*time.Millisecond)
				return b
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // a log that ends too early is looked at for a while
			s := newStage(t, 1)
			tp := topicPartition{topic, 0}
			requests := make([]*kgo.Record, 10)
			for n := range requests {
				requests[n] = request(0, n)
			}
			s.send(s.client(), requests...)
			for _, r := range requests[:c.settled] {
				s.book.settle(tp, recordOf(r))
			}
			s.book.epochs[tp], s.book.bounds = 4, c.bounds
			if c.fresh {
				s.book.epochs[tp] = -1
			}
			good := metadata{ClusterID: "c", Outcomes: "outcomes", N: 2, Offset: 5, PID: penPID, Epoch: 4,
				Last: fingerprint(recordOf(requests[4]).ID()), Ledger: 3, Lease: 7}
			s.commitAs(c.commit, good, c.at, c.text)
			if err := s.cluster.DeleteRecords(topic, 0, c.deleted); err != nil {
				t.Fatal(err)
			}
			r := s.consumer(nil)
			got, position, err := r.takeOver(tp, c.idle...)
			if c.err != nil {
				var wrong *worker.PartitionCountError
				if !errors.Is(err, c.err) && !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("ended with %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(got.close)
			if got.start != c.offset || got.part.Inherited != c.lease || position != c.from || len(got.settled) != c.ahead {
				t.Errorf("begins at %d, lease %d, replay from %d, %d settled ahead; want %d, %d, %d, %d",
					got.start, got.part.Inherited, position, len(got.settled), c.offset, c.lease, c.from, c.ahead)
			}
			if lost := r.metric("smscancel_lost_to_retention_records_total"); lost != c.lost {
				t.Errorf("%v records lost to retention, want %v", lost, c.lost)
			}
			if p := got.tracker.progress(); p.watermark != c.offset {
				t.Errorf("watermark %d before anything was done", p.watermark)
			}
		})
	}
}

// Fault: the earlier owner has not noticed the fence and goes on calling what it
// leased, new records too, until its own hold counts as stale. Promise: what comes
// in that time may have been called; what comes later may not.
func TestANewRecordMayHaveBeenCalledUntilTheEarlierOwnerMustHaveStopped(t *testing.T) {
	s := newStage(t, 1)
	s.publish(0, 0, 10)
	s.book.epochs[first] = 4
	s.commitAs(func(*metadata) {}, metadata{ClusterID: "c", Outcomes: "outcomes", N: 2, Offset: 0, PID: penPID, Epoch: 4, Lease: 1005}, 0, "")
	r := s.consumer(newAPI().call)
	heir, _, err := r.takeOver(first)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(heir.close)
	fetch := func(at, from, to int) {
		t.Helper()
		s.publish(0, from, to)
		if next, err := heir.fetchOnce(int64(at)); err != nil || next != int64(to) {
			t.Fatalf("fetched up to %d, %v", next, err)
		}
	}
	fetch(0, 10, 20)
	if heir.part.Inherited != 1005 {
		t.Errorf("within the session timeout the inherited lease is %d, want all of it: 1005", heir.part.Inherited)
	}
	heir.fenced = heir.fenced.Add(-2 * r.SessionTimeout)
	fetch(20, 20, 30)
	if heir.part.Inherited != 1005 {
		t.Errorf("while the end may be that of a leader that lags, the inherited lease is %d, want all of it: 1005", heir.part.Inherited)
	}
	heir.aloneSince = heir.aloneSince.Add(-2 * leaderPatience)
	fetch(30, 30, 40)
	if heir.part.Inherited != 39 {
		t.Errorf("after it the inherited lease is %d, want 39, the last record that stood in the log", heir.part.Inherited)
	}
	fetch(40, 40, 50)
	if heir.part.Inherited != 39 {
		t.Errorf("the inherited lease rose to %d again", heir.part.Inherited)
	}
}

// Fault: a broker answers the fetch that would tell the end with an error, and with
// 0 for the end, as the embedded one does. Promise: the inherited lease stays.
func TestAnErrorDoesNotCapTheLease(t *testing.T) {
	s := newStage(t, 1)
	s.publish(0, 0, 10)
	s.book.epochs[first] = 4
	s.commitAs(func(*metadata) {}, metadata{ClusterID: "c", Outcomes: "outcomes", N: 2, Offset: 0, PID: penPID, Epoch: 4, Lease: 1005}, 0, "")
	r := s.consumer(newAPI().call)
	heir, _, err := r.takeOver(first)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(heir.close)
	heir.fenced = heir.fenced.Add(-2 * r.SessionTimeout)
	heir.aloneSince = heir.fenced
	fault := s.fetchFault()
	fault.err = kerr.NotLeaderForPartition
	if _, err := heir.fetchOnce(0); err == nil || heir.part.Inherited != 1005 {
		t.Errorf("after the answer %v the inherited lease is %d, want all of it: 1005", err, heir.part.Inherited)
	}
	fault.answer(nil)
	if _, err := heir.fetchOnce(0); err != nil || heir.part.Inherited != 9 {
		t.Errorf("after the answer %v the inherited lease is %d, want 9", err, heir.part.Inherited)
	}
}

// Fault: an owner dies and leaves a lease beyond what its heir will ask for. Promise:
// the heir leases for itself at once, and does not wait until the other's is settled.
func TestAnHeirNeedNotWaitForTheLeaseItFound(t *testing.T) {
	for name, lease := range map[string]int64{"far beyond the end": 5000, "unknown": leaseUnknown} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 1)
			s.publish(0, 0, 10)
			s.book.epochs[first] = 4
			s.commitAs(func(*metadata) {}, metadata{ClusterID: "c", Outcomes: "outcomes", N: 2, Offset: 0, PID: penPID, Epoch: 4, Lease: lease}, 0, "")
			r := s.consumer(newAPI().call)
			s.book.replay = func(ctx context.Context) error { // the first commit is made without a record in hand
				for s.commit(0).meta.Epoch != 5 && ctx.Err() == nil {
					worker.Sleep(ctx, time.Millisecond)
				}
				return ctx.Err()
			}
			r.SessionTimeout = 4 * patience
			s.run(r)
			s.settled(10)
		})
	}
}

// Fault: an owner ends in the middle of its replay. Promise: who comes next still
// knows the lease that was left, and does not take the whole log for called.
func TestATakeoverCutShortLeavesTheLeaseAsItWas(t *testing.T) {
	s := newStage(t, 1)
	s.publish(0, 0, 10)
	rec := recordOf(request(0, 4))
	rec.Offset = 4
	for n := range 5 {
		settled := recordOf(request(0, n))
		settled.Offset = int64(n)
		s.book.settle(first, settled)
	}
	s.book.epochs[first] = 4
	s.commitAs(func(*metadata) {}, metadata{ClusterID: "c", Outcomes: "outcomes", N: 2, Offset: 5, PID: penPID, Epoch: 4,
		Last: fingerprint(rec.ID()), Ledger: 3, Lease: 7}, 0, "")
	s.book.replay = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	cut := s.start(newAPI().call)
	s.eventually("the commit of the new owner", func() error {
		if m := s.commit(0).meta; m == nil || m.Epoch != 5 {
			return fmt.Errorf("committed %+v", m)
		}
		return nil
	})
	cut.stop()
	if m := s.commit(0).meta; m.Lease != 7 || m.Offset != 5 || m.Ledger != 3 {
		t.Errorf("committed before the replay: %+v", m)
	}
	s.book.replay = nil
	heir := s.start(newAPI().call)
	s.settled(10)
	if line := heir.log.line("partition taken over"); !strings.Contains(line, `"lease":7`) {
		t.Errorf("the next owner inherits another lease: %s", line)
	}
}

// Fault: the same after a clean stop, which says that no record from the offset on
// has an outcome. Promise: the commit of the new owner, who may write some before
// it commits again, does not say so any more, but where they would stand.
func TestATakeoverDoesNotPassOnThatTheStopWasClean(t *testing.T) {
	s := newStage(t, 1)
	s.publish(0, 0, 10)
	for n := range 5 {
		s.book.settle(first, recordOf(request(0, n)))
	}
	s.book.epochs[first] = 4
	s.commitAs(func(*metadata) {}, metadata{ClusterID: "c", Outcomes: "outcomes", N: 2, Offset: 5, PID: penPID, Epoch: 4, Ledger: 1, Lease: -1, Clean: true}, 0, "")
	s.book.replay = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	r := s.start(newAPI().call)
	s.eventually("the commit of the new owner", func() error {
		if m := s.commit(0).meta; m == nil || m.Epoch != 5 || m.Clean || m.Ledger != 5 {
			return fmt.Errorf("committed %+v", m)
		}
		return nil
	})
	r.stop()
}

// Fault: while a takeover replays, the group gives the partition to an earlier owner
// that has not noticed the fence, which raises its lease, and then to the takeover
// again. Promise: the takeover's own commit does not undo that lease.
func TestATakeoverCommitsOnlyOverTheCommitThatItFound(t *testing.T) {
	s := newStage(t, 1)
	s.publish(0, 0, 10)
	s.book.epochs[first] = 4
	found := metadata{ClusterID: "c", Outcomes: "outcomes", N: 2, PID: penPID, Epoch: 4, Lease: 7}
	s.commitAs(func(*metadata) {}, found, 0, "")
	h := s.consumer(nil).newHold(first)
	ledger, err := s.book.Fence(t.Context(), topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	takeover := &takeover{c: h.c, tp: first, log: h.log, position: func(int64, int64) {}, claim: h.claim, idle: h.idle}
	session, err := takeover.settle(t.Context(), ledger)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.close)
	h.check(s.commit(0))
	if h.claims() == nil {
		t.Fatal("the takeover does not commit although nobody else has")
	}
	raised := found
	raised.Lease = 1007
	text, err := raised.encode()
	if err != nil {
		t.Fatal(err)
	}
	s.commitTo(topic, 0, text)
	h.check(s.commit(0))
	if claimed := h.claims(); claimed != nil {
		t.Errorf("the takeover would commit lease %d over lease 1007", claimed.lease)
	}
	if h.attach(session); session.mayCommit() {
		t.Error("the session that came of it would, too")
	}
}

// takeOver takes a partition over without a group, and tells where its replay began.
func (r *replica) takeOver(tp topicPartition, idle ...int16) (*session, int64, error) {
	ledger, err := r.s.book.Fence(r.ctx, tp.topic, tp.partition)
	if err != nil {
		return nil, 0, err
	}
	replay := &replayStart{Ledger: ledger}
	t := &takeover{c: r.Consumer, tp: tp, log: r.Log, position: func(int64, int64) {}, claim: func(*commitment) {}, idle: map[fence]bool{}}
	for _, epoch := range idle {
		t.idle[fence{penPID, epoch}] = true
	}
	s, err := t.settle(r.ctx, replay)
	return s, replay.from, err
}

// commitAs leaves the commit of a case in the group, which exists in any case.
func (s *stage) commitAs(change func(*metadata), m metadata, at int64, text string) {
	s.t.Helper()
	if err := s.cluster.CreateTopic("elsewhere", 1, nil); err != nil {
		s.t.Fatal(err)
	}
	s.commitTo("elsewhere", 0, "")
	if change == nil {
		if at > 0 {
			s.commitTo(topic, at, text)
		}
		return
	}
	change(&m)
	text, err := m.encode()
	if err != nil {
		s.t.Fatal(err)
	}
	s.commitTo(topic, cmp.Or(at, m.Offset), text)
}

func (s *stage) commitTo(topic string, offset int64, text string) {
	s.t.Helper()
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(s.addr), Transport: transport}
	res, err := client.OffsetCommit(s.t.Context(), &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: offset, Metadata: text}}},
	})
	if err == nil {
		err = res.Topics[topic][0].Error
	}
	if err != nil {
		s.t.Fatal(err)
	}
}
