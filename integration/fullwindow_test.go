package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/consumer/records"
	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
	"smscancel/producer"
	"smscancel/worker"
	"smscancel/worker/metrics"
)

// Faults: a restart after SIGTERM, another after SIGKILL, with many outcomes in
// the dedupe window. Promises: the index holds every one of them after each
// replay, duplicates of old messages are answered by the right outcome and
// without a call, and new messages are called once. SMSCANCEL_ENTRIES is how
// many outcomes.
func TestAFullDedupeWindowAnswersAfterEachRestart(t *testing.T) {
	kafkatest.Require(t)
	f := &fullWindow{
		world:   newWorld(t, kafkatest.Shared(t), 6, simulator.Options{MaxCalls: 100_000}),
		entries: number("SMSCANCEL_ENTRIES", 20_000),
	}
	f.plain = true
	begin := time.Now()
	f.fill()
	f.commitEnds()
	t.Logf("%d outcomes written in %s", f.entries, time.Since(begin).Round(time.Second))
	var said []string
	for round, end := range []func(*replica){(*replica).stop, (*replica).kill, (*replica).stop} {
		r, took := f.replay(round)
		f.ask(round, r)
		u, err := r.sample()
		if err != nil {
			t.Fatal(err)
		}
		if int(u.entries) != f.entries {
			t.Errorf("the index holds %.0f entries of %d", u.entries, f.entries)
		}
		said = append(said, fmt.Sprintf("%s (%.0f/s), RSS %.0f MiB, at most %.0f, heap %.0f, %.0f B of RSS an entry", took.Round(100*time.Millisecond),
			float64(f.entries)/took.Seconds(), u.rss/mib, r.peakMemory()/mib, u.heap/mib, u.rss/u.entries))
		t.Logf("replay %d: %s", round+1, said[round])
		end(r)
	}
	result(t, fmt.Sprintf("ENTRIES=%d", number("SMSCANCEL_ENTRIES", 20_000)), "replays: %s; %d duplicates of old messages answered rightly without a call, %d new messages called once",
		strings.Join(said, "; "), f.answered, f.called)
}

type fullWindow struct {
	*world
	entries  int // in the window by now
	mu       sync.Mutex
	old      []remembered
	answered int
	called   int
}

// remembered is a message, the outcome that must answer for it, and the calls
// that the API has seen for it.
type remembered struct {
	umid, outcomeID string
	calls           int
}

// fill writes requests, and as the worker does their outcomes, with the
// product's own fence and encoder.
func (f *fullWindow) fill() {
	f.t.Helper()
	writers := f.fence()
	requests := f.client(kgo.ProducerBatchMaxBytes(900_000))
	const chunk = 5000
	chunks := make(chan int)
	var fillers sync.WaitGroup
	for range 2 {
		fillers.Go(func() {
			for from := range chunks {
				if err := f.fillChunk(f.t.Context(), requests, writers, from, min(chunk, f.entries-from)); err != nil {
					f.t.Error(err)
				}
			}
		})
	}
	for from := 0; from < f.entries; from += chunk {
		chunks <- from
		if from > 0 && from%1_000_000 == 0 {
			f.t.Logf("%d outcomes written", from)
		}
	}
	close(chunks)
	fillers.Wait()
	if f.t.Failed() {
		f.t.FailNow()
	}
}

// fence takes over the ledger of every partition.
func (f *fullWindow) fence() []*producer.Writer {
	f.t.Helper()
	transport := &kafka.Transport{MetadataTopics: []string{f.requests, f.outcomes}}
	f.t.Cleanup(transport.CloseIdleConnections)
	client := &kafka.Client{Addr: kafka.TCP(f.brokers...), Transport: transport}
	ledger := &producer.Ledger{
		Client: client, Records: &records.Client{Transport: transport, Addr: client.Addr}, Topic: f.outcomes, Partitions: f.n,
		ClusterID: f.cluster.ID(), Metrics: metrics.New(), Log: zerolog.Nop(),
	}
	writers := make([]*producer.Writer, f.parts)
	for p := range writers {
		writer, err := ledger.Fence(within(f.t), f.requests, p)
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(writer.Close)
		if err := writer.Replay(within(f.t), 0, func(worker.Settled) {}, func(int64, int64) {}); err != nil {
			f.t.Fatal(err)
		}
		writers[p] = writer
	}
	return writers
}

// fillChunk writes n requests and their outcomes, and remembers some of them.
func (f *fullWindow) fillChunk(ctx context.Context, client *kgo.Client, writers []*producer.Writer, from, n int) error {
	batch := make([]*kgo.Record, n)
	for i := range batch {
		id := umid(from + i)
		batch[i] = &kgo.Record{Topic: f.requests, Key: []byte(id), Value: fmt.Appendf(nil, `{"umid":%q,"subAccountId":"acme_shop"}`, id)}
	}
	if err := client.ProduceSync(ctx, batch...).FirstErr(); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	receipts := make([]worker.Receipt, n)
	for i, r := range batch {
		o := f.outcomeOf(r)
		receipts[i] = writers[r.Partition].Append(o)
		if every := max(1, f.entries/20_000); (from+i)%every == 0 {
			f.mu.Lock()
			f.old = append(f.old, remembered{umid: o.UMID, outcomeID: o.OutcomeID})
			f.mu.Unlock()
		}
	}
	for _, receipt := range receipts {
		if _, err := receipt.Wait(ctx); err != nil {
			return fmt.Errorf("append: %w", err)
		}
	}
	return nil
}

// outcomeOf is what the worker writes when the API has cancelled the message.
func (f *fullWindow) outcomeOf(r *kgo.Record) *worker.Outcome {
	rec := &worker.Record{Topic: r.Topic, Partition: int(r.Partition), Offset: r.Offset, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value}
	req := &worker.Request{
		Target:    worker.Target{SubAccountID: "acme_shop", ID: string(r.Key)},
		RequestID: fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset),
	}
	o := worker.NewOutcome(rec, req, f.cluster.ID())
	one := 1
	o.Status, o.CancelledCount, o.Attempts = worker.StatusCancelled, &one, 1
	o.FirstAttemptAt = worker.FormatTime(time.Now())
	o.CompletedAt = o.FirstAttemptAt
	return o
}

// replay starts a worker, waits until it runs all partitions, and measures how
// long that took since it was given them.
func (f *fullWindow) replay(round int) (*replica, time.Duration) {
	f.t.Helper()
	r := f.start(fmt.Sprint("worker-", round), patiently...)
	var begin time.Time
	f.advances("the replay", func() (float64, bool) {
		s, err := r.status()
		if err != nil {
			return 0, false
		}
		if begin.IsZero() && len(s.Partitions) > 0 {
			begin = time.Now()
		}
		n, read := 0, 0.0
		for _, p := range s.Partitions {
			if p.State == "running" {
				n++
			}
			read += float64(p.Dedupe)
		}
		if s.Replay != nil {
			read += float64(s.Replay.Read)
		}
		return read, n == f.parts
	})
	return r, time.Since(begin)
}

// ask sends duplicates of old messages and as many new ones.
func (f *fullWindow) ask(round int, r *replica) {
	f.t.Helper()
	const n = 2000
	before := f.ends(f.outcomes)
	rand.Shuffle(len(f.old), func(i, j int) { f.old[i], f.old[j] = f.old[j], f.old[i] })
	wanted := map[string]remembered{} // by UMID; of a new message the outcome has no id yet
	var asked []string
	for _, o := range f.old[:min(n, len(f.old))] {
		wanted[o.umid] = o
		asked = append(asked, o.umid)
	}
	for i := range n {
		id := umid(1<<30 + round*n + i)
		wanted[id] = remembered{umid: id, calls: 1}
		asked = append(asked, id)
	}
	f.produce(f.client(), f.requestsFor(asked...)...)
	f.waitSettled(r)
	f.scan(f.outcomes, before, func(record *kgo.Record) { f.check(record, wanted) })
	for id := range wanted {
		f.t.Errorf("no outcome of %s", id)
	}
}

// check holds one outcome against what is wanted, and strikes that off.
func (f *fullWindow) check(record *kgo.Record, wanted map[string]remembered) {
	f.t.Helper()
	o := f.checkRecord(record)
	want, asked := wanted[o.UMID]
	delete(wanted, o.UMID)
	calls, isNew := len(f.sim.CallsOf(o.UMID)), want.outcomeID == ""
	switch {
	case !asked:
		f.t.Errorf("not asked for, or twice: %s", record.Value)
	case calls != want.calls:
		f.t.Errorf("%d calls, want %d: %s", calls, want.calls, record.Value)
	case isNew && o.Status == worker.StatusCancelled:
		f.called++
		f.entries++
		f.old = append(f.old, remembered{o.UMID, o.OutcomeID, calls})
	case !isNew && o.Status == worker.StatusDuplicate && o.DuplicateOf == want.outcomeID && *o.CancelledCount == 1 && o.Attempts == 0:
		f.answered++
	default:
		f.t.Errorf("want to be answered by %q: %s", want.outcomeID, record.Value)
	}
}

// peakMemory is the largest RSS that the process ever had; 0 where the system
// does not tell.
func (r *replica) peakMemory() float64 {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.cmd.Process.Pid))
	var kib float64
	if _, line, found := strings.Cut(string(content), "VmHWM:"); found {
		fmt.Sscanf(line, "%f", &kib) //nolint:errcheck // 0 says so
	}
	return kib * 1024
}
