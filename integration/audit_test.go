package integration

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/checker"
	"smscancel/integration/history"
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
func readTopic(t testing.TB, brokers []string, topic string) []*kgo.Record {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ctx := within(t); ; {
		all, err := history.Read(ctx, topic, kgo.SeedBrokers(brokers...))
		if err == nil {
			return all
		}
		if !errors.Is(err, kerr.LeaderNotAvailable) || ctx.Err() != nil { // a broker that hung may be leader again in a moment
			t.Fatal(err)
		}
		<-tick.C
	}
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

// audit has the checker decide the whole run.
func (w *world) audit() audit {
	w.t.Helper()
	run := w.collect()
	report := checker.Check(run)
	w.t.Log(report)
	if !report.OK() {
		w.t.Fail()
	}
	a := audit{outcomes: map[string]*worker.Outcome{}, byStatus: report.Counts.ByStatus, unclear: report.Counts.Ambiguous, calls: report.Counts.Calls}
	for i := range run.Outcomes {
		if o, err := worker.DecodeOutcome(run.Outcomes[i].Value); err == nil {
			a.outcomes[o.OutcomeID] = o
		}
	}
	return a
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
