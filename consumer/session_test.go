package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/worker"
)

var first = topicPartition{topic, 0}

// committedAt waits until the group has committed an offset.
func (s *stage) committedAt(partition int, offset int64) committed {
	s.t.Helper()
	s.eventually(fmt.Sprintf("the commit of offset %d", offset), func() error {
		if c := s.commit(partition); c.offset != offset {
			return fmt.Errorf("committed %d", c.offset)
		}
		return nil
	})
	return s.commit(partition)
}

// once checks that each of the first n offsets of a partition has one outcome.
func (s *stage) once(partition, n int) {
	s.t.Helper()
	found := s.book.outcomes(topicPartition{topic, partition})
	for offset := range int64(n) {
		if found[offset] != 1 {
			s.t.Errorf("partition %d, offset %d: %d outcomes", partition, offset, found[offset])
		}
	}
	if len(found) != n {
		s.t.Errorf("partition %d: outcomes for %d offsets, %d requests", partition, len(found), n)
	}
}

// Promise: a record whose outcome the ledger holds is not handed to the worker
// again; one that merely took its offset is.
func TestSettledRecordsAreSkipped(t *testing.T) {
	s := newStage(t, 1)
	var requests []*kgo.Record
	for n := range 10 {
		requests = append(requests, request(0, n))
	}
	s.send(s.client(), requests...)
	for _, r := range requests[:4] {
		s.book.settle(first, recordOf(r))
	}
	other := recordOf(requests[4])
	other.Value = []byte("of a topic that was deleted")
	s.book.settle(first, other)
	api := newAPI()
	r := s.start(api.call)
	s.settled(5 + 6)
	if messages, calls := api.called(); messages != 6 || calls != 6 {
		t.Errorf("%d calls for %d messages, want 6", calls, messages)
	}
	s.committedAt(0, 10)
	if skipped := r.metric("smscancel_skipped_requests_total"); skipped != 4 {
		t.Errorf("%v records skipped, want 4", skipped)
	}
}

// Promise: requests of an aborted transaction are never acted on, and markers
// at the end of the log do not hold the watermark up.
func TestRequestsOfAbortedTransactionsAreNeverHandedOver(t *testing.T) {
	s := newStage(t, 1)
	client := s.client(kgo.TransactionalID("booking"))
	transaction := func(n int, end kgo.TransactionEndTry) {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		s.send(client, request(0, n), request(0, n+1))
		if err := client.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	transaction(0, kgo.TryAbort)
	transaction(10, kgo.TryCommit)
	transaction(20, kgo.TryAbort)
	api := newAPI()
	s.start(api.call)
	c := s.committedAt(0, s.cluster.PartitionInfo(topic, 0).HighWatermark)
	if messages, _ := api.called(); messages != 2 || api.calls["umid-0-10"] != 1 || api.calls["umid-0-11"] != 1 {
		t.Errorf("called %v, want the two of the committed transaction", api.calls)
	}
	if c.meta == nil || c.meta.Last == nil || c.meta.Last.Offset != 4 {
		t.Errorf("metadata %s names another last record than that at offset 4", c.raw)
	}
}

// Fault: the coordinator does not take the first commit of a new owner. Promise: it
// writes no outcome, not even one without a call: an earlier owner that is given
// the partition again would not see that it has lost it, and go on calling.
func TestNothingIsTakenInHandBeforeACommitStands(t *testing.T) {
	s := newStage(t, 1)
	late := request(0, 0)
	late.Value = []byte(`{"umid":"umid-0-0","subAccountId":"acme_shop","scheduledAt":"2001-01-01T00:00:00Z"}`)
	s.send(s.client(), late)
	var refused, closed atomic.Int32
	closed.Store(1)
	s.cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		s.cluster.KeepControl()
		refused.Add(1)
		return refuseCommit(req), nil, closed.Load() == 1
	})
	r := s.start(newAPI().call)
	s.eventually("refused commits", func() error {
		if n := refused.Load(); n < 5 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if n := r.metric("smscancel_requests_total"); n > 0 || s.book.len() > 0 {
		t.Errorf("%v records in hand, %d outcomes, and no commit", n, s.book.len())
	}
	closed.Store(0)
	s.settled(1)
	s.once(0, 1)
}

// refuseCommit is the answer of a coordinator that stores no metadata.
func refuseCommit(req kmsg.Request) kmsg.Response {
	res := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, topic := range req.(*kmsg.OffsetCommitRequest).Topics {
		t := kmsg.NewOffsetCommitResponseTopic()
		t.Topic = topic.Topic
		for _, partition := range topic.Partitions {
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.Partition, p.ErrorCode = partition.Partition, kerr.OffsetMetadataTooLarge.Code
			t.Partitions = append(t.Partitions, p)
		}
		res.Topics = append(res.Topics, t)
	}
	return res
}

// Promise: no call starts before a commit says that it may have.
func TestNoCallStartsBeforeItsLeaseIsCommitted(t *testing.T) {
	s := newStage(t, 1)
	api := newAPI()
	r := s.start(api.call)
	s.committedAt(0, 0)
	release := make(chan struct{})
	open := sync.OnceFunc(func() { close(release) })
	t.Cleanup(open)
	s.cluster.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
		s.cluster.SleepControl(func() { <-release })
		return nil, nil, false
	})
	s.publish(0, 0, 3)
	s.eventually("all records in hand", func() error {
		if n := r.metric("smscancel_requests_total"); n < 3 {
			return fmt.Errorf("%v", n)
		}
		return nil
	})
	if _, calls := api.called(); calls > 0 {
		t.Errorf("%d calls without a durable lease", calls)
	}
	open()
	s.settled(3)
	s.committedAt(0, 3)
	s.once(0, 3)
}

// Promise: a clean stop finishes the calls in hand, and leaves a commit that
// the next owner can trust, with a lease that makes nothing ambiguous.
func TestDrainFinishesCallsAndCommitsATrimmedLease(t *testing.T) {
	s := newStage(t, 1)
	s.publish(0, 0, 20)
	api := newAPI()
	api.gate = make(chan struct{})
	r := s.start(api.call)
	s.eventually("all calls in hand", func() error {
		if messages, _ := api.called(); messages < 20 {
			return fmt.Errorf("%d", messages)
		}
		return nil
	})
	if lease := s.commit(0).meta.Lease; lease < 19 {
		t.Errorf("calls up to offset 19 are in hand, the committed lease is %d", lease)
	}
	stopped := make(chan struct{})
	go func() { r.stop(); close(stopped) }()
	s.eventually("the drain", func() error {
		if r.in(StateDraining) == 0 {
			return errors.New("not draining")
		}
		return nil
	})
	close(api.gate)
	<-stopped
	s.once(0, 20)
	c := s.commit(0)
	last := request(0, 19)
	last.Offset = 19
	if c.offset != 20 || !c.meta.of("c", "outcomes") || c.meta.N != 2 || !c.meta.writtenBy(penPID, s.book.epoch(first)) ||
		c.meta.Lease != -1 || !c.meta.Clean || c.meta.Ledger != 20 || c.meta.Last == nil || c.meta.Last.id() != recordOf(last).ID() {
		t.Errorf("committed %d with %s", c.offset, c.raw)
	}
	if api.cut > 0 {
		t.Errorf("%d calls were cut", api.cut)
	}
}

// Promise: a record that was called and handed back without an outcome stays
// within the lease that the next owner inherits.
func TestCutCallStaysWithinTheLease(t *testing.T) {
	s := newStage(t, 1)
	s.publish(0, 0, 8)
	api := newAPI()
	api.gate = make(chan struct{}) // never opened
	called := make(chan struct{}, 8)
	stubborn := func(ctx context.Context, id string) worker.Verdict {
		if id != "umid-0-5" {
			return newAPI().call(ctx, id)
		}
		called <- struct{}{}
		return api.call(ctx, id)
	}
	r := s.consumer(stubborn)
	r.DrainTimeout = 50 * time.Millisecond
	s.run(r)
	<-called
	s.settled(7)
	r.stop()
	c := s.commit(0)
	if c.offset != 5 || c.meta == nil || c.meta.Lease != 5 || c.meta.Clean || api.cut != 1 {
		t.Errorf("committed %d with %s, %d calls cut", c.offset, c.raw, api.cut)
	}
	heir := s.start(newAPI().call)
	s.running(heir, 1)
	s.settled(8)
	s.once(0, 8)
	if skipped := heir.metric("smscancel_skipped_requests_total"); skipped != 2 {
		t.Errorf("the heir skipped %v settled records beyond the watermark, want 2", skipped)
	}
}

// Promise: a scale-out moves partitions, cuts no call, repeats none, loses none.
func TestHandOverCutsNoCall(t *testing.T) {
	const partitions, each = 4, 50
	s := newStage(t, partitions)
	for p := range partitions {
		s.publish(p, 0, each)
	}
	api := newAPI()
	api.gate = make(chan struct{})
	a := s.start(api.call)
	s.running(a, partitions)
	s.eventually("all calls in hand", func() error {
		if messages, _ := api.called(); messages < partitions*each {
			return fmt.Errorf("%d", messages)
		}
		return nil
	})
	b := s.start(api.call)
	s.eventually("two partitions to be handed over", func() error {
		if n := a.in(StateDraining); n != 2 {
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	if n := b.in(StateRunning); n > 0 {
		t.Errorf("the new member runs %d partitions whose calls are still in hand", n)
	}
	close(api.gate)
	s.running(b, 2)
	s.running(a, 2)
	for p := range partitions {
		s.publish(p, each, 2*each)
	}
	s.settled(partitions * 2 * each)
	a.stop()
	b.stop()
	for p := range partitions {
		s.once(p, 2*each)
		if c := s.commit(p); c.offset != 2*each {
			t.Errorf("partition %d is committed at %d", p, c.offset)
		}
	}
	if messages, calls := api.called(); calls != messages || api.cut > 0 {
		t.Errorf("%d calls for %d messages, %d cut", calls, messages, api.cut)
	}
}

// Fault: the answer to a commit is lost, or says that the end is unknown.
// Promise: the generation ends, the session goes on in the next one.
func TestCommitOfUnknownEndEndsTheGenerationAndNotTheSession(t *testing.T) {
	for name, lose := range map[string]func(*kfake.Cluster){
		"the connection is lost": func(c *kfake.Cluster) {
			c.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
				return nil, errors.New("lost"), true
			})
		},
		"timed out after it was applied": func(c *kfake.Cluster) {
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.RequestTimedOut})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 1)
			s.publish(0, 0, 5)
			api := newAPI()
			r := s.start(api.call)
			s.committedAt(0, 5)
			generation := r.report().Generation
			lose(s.cluster)
			s.publish(0, 5, 10)
			s.committedAt(0, 10)
			s.eventually("the next generation", func() error {
				if now := r.report().Generation; now <= generation {
					return fmt.Errorf("still %d", now)
				}
				return nil
			})
			s.publish(0, 10, 2000) // beyond the lease: it must be raised again
			s.settled(2000)
			s.running(r, 1)
			if epoch := s.book.epoch(first); epoch != 0 {
				t.Errorf("the partition was taken over %d times", epoch+1)
			}
			s.once(0, 2000)
		})
	}
}

// Fault: no commit has a known end for a while. Promise: a member does not rejoin
// again and again without a pause.
func TestCommitsOfUnknownEndAreNoReasonToRejoinWithoutAPause(t *testing.T) {
	s := newStage(t, 1)
	s.start(newAPI().call)
	s.committedAt(0, 0)
	s.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.RequestTimedOut, Count: -1})
	joins := s.joins()
	s.publish(0, 0, 5)
	first := <-joins
	for range 4 {
		<-joins
	}
	if sixth := <-joins; sixth.Sub(first) < 5*rejoinPause {
		t.Errorf("six joins within %s", sixth.Sub(first))
	}
}

// Fault: another process fences this one, which its group still gives the
// partition. Promise: it says so, is unready, and waits ten seconds at least.
func TestFencedSessionWaitsAndSaysSo(t *testing.T) {
	s := newStage(t, 1)
	api := newAPI()
	r := s.start(api.call)
	s.running(r, 1)
	if _, err := s.book.Fence(t.Context(), topic, 0); err != nil {
		t.Fatal(err)
	}
	s.publish(0, 0, 1)
	s.eventually("the fenced partition to wait", func() error {
		if r.in(StateWaiting) == 0 {
			return errors.New("it does not")
		}
		return nil
	})
	report := r.report()
	if report.Ready || !strings.Contains(report.Reason, "requests/0") || !strings.Contains(report.Partitions[0].Reason, "fenced by another writer") {
		t.Errorf("ready %t, %q, partition %+v", report.Ready, report.Reason, report.Partitions)
	}
	s.eventually("the log to tell when", func() error {
		if r.log.line(`"again":"10s"`) == "" {
			return errors.New("no line says 10s")
		}
		return nil
	})
	if n := r.metric("smscancel_fenced_total"); n != 1 {
		t.Errorf("fenced %v times by the metric", n)
	}
	if epoch := s.book.epoch(first); epoch != 1 {
		t.Errorf("the ledger has epoch %d: it was taken back at once", epoch)
	}
}
