package integration

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
	"smscancel/worker"
)

// Not a fault: more requests are waiting than memory should hold. Promise: one
// worker with the default --window drains them, every request has one outcome
// and one call, and memory depends on the window and not on the backlog: the
// peak of the last quarter is that of the second. SMSCANCEL_BACKLOG is how many.
func TestABacklogIsDrainedWithBoundedMemory(t *testing.T) {
	kafkatest.Require(t)
	const window = 20_000 // the default
	total := number("SMSCANCEL_BACKLOG", 3*window/2)
	w := newWorld(t, kafkatest.Shared(t), 6, simulator.Options{MaxCalls: 1000})
	w.plain = true
	w.publishMany(0, total)
	begin := time.Now()
	// The index holds what the window holds, which the test of a full window
	// measures: here it is kept small, so that nothing but the backlog can show.
	r := w.start("worker", append([]string{"--dedupe-window", "30s"}, patiently...)...)
	watched := r.watch(min(5*time.Second, time.Duration(total)*20*time.Microsecond))
	report := begin
	w.advances("the drain", func() (float64, bool) {
		n := r.settled()
		if time.Since(report) > time.Minute {
			report = time.Now()
			u := watched.last()
			t.Logf("%s: %d settled, RSS %.1f MiB, heap %.1f MiB, %.0f goroutines, %.0f entries",
				time.Since(begin).Round(time.Second), n, u.rss/mib, u.heap/mib, u.goroutines, u.entries)
		}
		return float64(n), n >= int64(total)
	})
	took := time.Since(begin)
	samples := watched.stop()
	r.stop()
	w.checkEachOnce(total)
	rss := func(s sample) float64 { return s.rss }
	second, last := peak(quarter(samples, 1), rss), peak(quarter(samples, 3), rss)
	allowed := 1.15*second + 16*mib
	if total < 10*window {
		allowed = math.Inf(1) // that is all warm-up
	}
	if last > allowed {
		t.Errorf("RSS rises from %.1f MiB in the second quarter to %.1f MiB in the last", second/mib, last/mib)
	}
	goroutines := peak(samples, func(s sample) float64 { return s.goroutines })
	if goroutines > window+3*1024+500 { // and --concurrency connections with two each
		t.Errorf("%.0f goroutines: more records are in hand than --window allows", goroutines)
	}
	result(t, fmt.Sprintf("BACKLOG=%d", total), "drained in %s, %.0f requests/s; 0 missing, 0 second outcomes, %d calls; peak RSS by quarter %.0f, %.0f, %.0f, %.0f MiB; at most %.0f goroutines",
		took.Round(time.Second), float64(total)/took.Seconds(), w.sim.Summary().Calls,
		peak(quarter(samples, 0), rss)/mib, second/mib, peak(quarter(samples, 2), rss)/mib, last/mib, goroutines)
}

// publishMany sends requests for n messages, numbered from a number on.
func (w *world) publishMany(from, n int) {
	w.t.Helper()
	w.publishTo(w.requests, from, n, func(int) string { return `"subAccountId":"acme_shop"` })
}

// publishTo does so in any topic, with these fields besides the UMID of the i-th.
func (w *world) publishTo(topic string, from, n int, fields func(i int) string) {
	w.t.Helper()
	client := w.client(kgo.MaxBufferedRecords(50_000), kgo.ProducerBatchMaxBytes(900_000))
	for i := range n {
		client.Produce(w.t.Context(), plainRequest(topic, umid(from+i), fields(i)), func(_ *kgo.Record, err error) {
			if err != nil {
				w.t.Errorf("publish: %v", err)
			}
		})
	}
	if err := client.Flush(w.t.Context()); err != nil {
		w.t.Fatalf("publish: %v", err)
	}
}

// plainRequest is a request with these fields besides its UMID.
func plainRequest(topic, umid, fields string) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte(umid), Value: fmt.Appendf(nil, `{"umid":%q,%s}`, umid, fields)}
}

// checkEachOnce reads the outcome topic without keeping it: every request has
// exactly one outcome, which says that its message was cancelled, and the API
// saw one call for each. (More attempts there may be: an API without CPU drops
// connections before it reads a request.)
func (w *world) checkEachOnce(total int) {
	w.t.Helper()
	seen, sum := map[int]bitmap{}, int64(0)
	for p, end := range w.ends(w.requests) {
		seen[p] = make(bitmap, end/64+1)
		sum += end
	}
	found := 0
	w.scan(w.outcomes, nil, func(r *kgo.Record) {
		o, err := worker.DecodeOutcome(r.Value)
		if err != nil {
			w.t.Fatalf("outcome at %d/%d: %v", r.Partition, r.Offset, err)
		}
		at := o.Source
		switch {
		case o.Status != worker.StatusCancelled || *o.CancelledCount != 1 || o.Attempts == 0 || o.Ambiguous:
			w.t.Errorf("not cancelled: %s", r.Value)
		case at.Offset/64 >= int64(len(seen[at.Partition])):
			w.t.Errorf("of no request: %s", r.Value)
		case !seen[at.Partition].set(at.Offset):
			w.t.Errorf("a second outcome of %d/%d", at.Partition, at.Offset)
		default:
			found++
		}
	})
	if sum != int64(total) || found != total {
		w.t.Errorf("%d requests, %d stand in the topic, %d have an outcome", total, sum, found)
	}
	if calls := w.sim.Summary().Calls; calls != int64(total) {
		w.t.Errorf("%d calls for %d requests", calls, total)
	}
}

// bitmap is a set of offsets.
type bitmap []uint64

// set adds an offset and tells whether it is new.
func (b bitmap) set(offset int64) bool {
	word, bit := &b[offset/64], uint64(1)<<(offset%64)
	isNew := *word&bit == 0
	*word |= bit
	return isNew
}
