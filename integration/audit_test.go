package integration

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/worker"
)

// place is where a request stands.
type place struct {
	topic     string
	partition int
	offset    int64
}

// readTopic reads a topic from its start to its present end, with another
// client library than the worker's.
func readTopic(t *testing.T, brokers []string, topic string) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), // they show that the end was reached
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatalf("ends of %s: %v", topic, err)
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var all []*kgo.Record
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return all
}

// waitForOutcomes waits until the outcome topic holds at least n records.
func (w *world) waitForOutcomes(n int) {
	w.t.Helper()
	w.eventually(fmt.Sprint(n, " outcomes"), func() error {
		if have := w.countOutcomes(); have < n {
			return fmt.Errorf("there are %d", have)
		}
		return nil
	})
}

// countOutcomes adds up what the replicas' watermarks cannot say: the records
// of the outcome topic, markers left out.
func (w *world) countOutcomes() int { return len(readTopic(w.t, w.brokers, w.outcomes)) }

// audit is what a run left behind, read whole.
type audit struct {
	outcomes map[string]*worker.Outcome // by id
	byStatus map[worker.Status]int
	unclear  int
	calls    int
}

// audit checks the whole run: exactly one outcome for every request, and none
// that contradicts what the API did.
func (w *world) audit() audit {
	w.t.Helper()
	a := audit{outcomes: map[string]*worker.Outcome{}, byStatus: map[worker.Status]int{}, calls: len(w.sim.Calls())}
	requests := map[string]*kgo.Record{} // by the id that the outcome must have
	for _, r := range append(readTopic(w.t, w.brokers, w.requests), w.deleted...) {
		requests[w.outcomeID(r)] = r
	}
	for _, r := range readTopic(w.t, w.brokers, w.outcomes) {
		o := w.checkRecord(r)
		if requests[o.OutcomeID] == nil {
			w.t.Errorf("outcome at %d/%d is of a request that does not exist: %+v", r.Partition, r.Offset, o)
		}
		if other := a.outcomes[o.OutcomeID]; other != nil {
			w.t.Errorf("request %+v has two outcomes:\n%+v\n%+v", at(requests[o.OutcomeID]), other, o)
		}
		a.outcomes[o.OutcomeID] = o
		a.byStatus[o.Status]++
		if o.Ambiguous {
			a.unclear++
		}
	}
	for id, r := range requests {
		if a.outcomes[id] == nil {
			w.t.Errorf("request %+v has no outcome", at(r))
		}
	}
	w.compareWithAPI(a)
	return a
}

// outcomeID is the id of a request's outcome. Unlike its offset it names the
// request also where the topic was deleted and created again.
func (w *world) outcomeID(r *kgo.Record) string {
	return worker.OutcomeID(w.cluster.ID(), r.Topic, int(r.Partition), r.Offset, r.Timestamp)
}

// checkRecord checks one outcome record by itself.
func (w *world) checkRecord(r *kgo.Record) *worker.Outcome {
	w.t.Helper()
	if bytes.Contains(r.Value, []byte(secret)) {
		w.t.Errorf("the outcome at %d/%d contains the API key", r.Partition, r.Offset)
	}
	o, err := worker.DecodeOutcome(r.Value)
	if err != nil {
		w.t.Fatalf("outcome at %d/%d: %v: %s", r.Partition, r.Offset, err, r.Value)
	}
	if int(r.Partition) != o.Source.Partition%w.n {
		w.t.Errorf("outcome of partition %d stands in partition %d", o.Source.Partition, r.Partition)
	}
	if o.Status != worker.StatusRejected && string(r.Key) != strings.ToLower(o.UMID+o.BatchID) {
		w.t.Errorf("outcome of %s%s has the key %q", o.UMID, o.BatchID, r.Key)
	}
	return o
}

// compareWithAPI holds the outcomes of every message against the calls that
// the API saw for it.
func (w *world) compareWithAPI(a audit) {
	w.t.Helper()
	claimed, admitted, attempts := map[string]int{}, map[string]bool{}, map[string]int{}
	for _, o := range a.outcomes {
		id := strings.ToLower(o.UMID + o.BatchID) // of a message or a batch: no test uses one id for both
		if id == "" {
			continue
		}
		if o.Status == worker.StatusCancelled {
			claimed[id] += *o.CancelledCount
		}
		admitted[id] = admitted[id] || o.Ambiguous
		attempts[id] += o.Attempts
	}
	effects, calls := map[string]int{}, map[string]int{}
	for _, c := range w.sim.Calls() {
		id := strings.ToLower(c.ID)
		effects[id] += c.Effect
		calls[id]++
	}
	for id, n := range claimed {
		if n > effects[id] {
			w.t.Errorf("outcomes claim %d cancellations of %s, the API made %d", n, id, effects[id])
		}
	}
	for id, n := range effects {
		if n > claimed[id] && !admitted[id] {
			w.t.Errorf("the API cancelled %s %d times, outcomes report %d and none is ambiguous", id, n, claimed[id])
		}
	}
	for id, n := range calls {
		if n > attempts[id] && !admitted[id] && claimed[id] == 0 {
			w.t.Errorf("%s was called %d times, outcomes report %d attempts and none is ambiguous", id, n, attempts[id])
		}
	}
}
