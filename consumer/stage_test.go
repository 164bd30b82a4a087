package consumer

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/consumer/records"
	"smscancel/integration/broker"
	"smscancel/worker"
	"smscancel/worker/admission"
	"smscancel/worker/dedupe"
	"smscancel/worker/metrics"
	"smscancel/worker/status"
)

const (
	topic    = "requests"
	group    = "g"
	patience = time.Minute // how long a test waits for what must happen, on any machine
)

// stage is a request topic on an embedded broker and a ledger in memory.
type stage struct {
	t       *testing.T
	cluster *kfake.Cluster
	addr    string
	book    *book
}

func newStage(t *testing.T, partitions int) *stage {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Cluster.CreateTopic(topic, int32(partitions), nil); err != nil {
		t.Fatal(err)
	}
	return &stage{t: t, cluster: b.Cluster, addr: b.Addr(), book: newBook()}
}

// replica is one consumer of the group.
type replica struct {
	*Consumer
	s       *stage
	log     *syncBuffer
	metrics *metrics.Metrics
	stop    func() // drains, and waits until it has ended
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *syncBuffer) line(fragment string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.String()) {
		if strings.Contains(line, fragment) {
			return line
		}
	}
	return ""
}

// consumer makes a member of the group that is not running yet.
func (s *stage) consumer(caller callerFunc) *replica {
	s.t.Helper()
	transport := &kafka.Transport{}
	s.t.Cleanup(transport.CloseIdleConnections)
	client := &kafka.Client{Addr: kafka.TCP(s.addr), Transport: transport}
	r := &replica{s: s, log: &syncBuffer{}, metrics: metrics.New()}
	handler := &worker.Handler{
		Caller: caller, Admission: admission.New(admission.Config{}), Hasher: dedupe.NewHasher(), Metrics: r.metrics, Recent: &status.Recent{}, Tally: status.NewTally(),
		Retry: worker.RetryPolicy{Initial: 10 * time.Millisecond, MaxInterval: time.Second, MaxElapsed: time.Hour},
	}
	r.Consumer = New(Config{
		Client: client, Records: &records.Client{Transport: transport, Addr: client.Addr}, Dialer: &kafka.Dialer{}, Brokers: []string{s.addr},
		ClusterID: "c", Group: group, Topics: []string{topic}, OutcomeTopic: "outcomes", N: 2,
		SessionTimeout: 10 * time.Second, AttemptTimeout: patience, DrainTimeout: patience, DedupeWindow: time.Hour,
		Window: 1000, WindowBytes: 1 << 20, Outcomes: s.book, Handler: handler, Log: zerolog.New(r.log),
	})
	r.ctx = s.t.Context()
	return r
}

// start runs a member of the group.
func (s *stage) start(caller callerFunc) *replica {
	s.t.Helper()
	r := s.consumer(caller)
	s.run(r)
	return r
}

// run runs a member until the test ends, or stop.
func (s *stage) run(r *replica) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				s.t.Errorf("the consumer ended with %v", err)
			}
		case <-time.After(patience):
			s.t.Error("the consumer does not end")
		}
		if s.t.Failed() {
			s.t.Logf("the consumer's log:\n%s", r.log.String())
		}
	})
	s.t.Cleanup(r.stop)
}

// in counts the partitions of a replica that are in a state.
func (r *replica) in(state State) int {
	n := 0
	for _, p := range r.report().Partitions {
		if p.State == string(state) {
			n++
		}
	}
	return n
}

func (r *replica) report() status.Status {
	var s status.Status
	r.Report(&s)
	return s
}

// metric is the sum of a metric over its labels.
func (r *replica) metric(name string) (sum float64) {
	families, err := r.metrics.Registry.Gather()
	if err != nil {
		r.s.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// eventually waits until check has nothing to object to any more.
func (s *stage) eventually(what string, check func() error) {
	s.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			s.t.Fatalf("waited %s for %s: %v", patience, what, err)
		}
	}
}

// running waits until a replica runs so many partitions.
func (s *stage) running(r *replica, n int) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d running partitions", n), func() error {
		if got := r.in(StateRunning); got != n {
			return fmt.Errorf("%d run; %s", got, r.report().Reason)
		}
		return nil
	})
}

// settled waits until the ledger has so many outcomes.
func (s *stage) settled(n int) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d outcomes", n), func() error {
		if got := s.book.len(); got < n {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
}

// client is a producer of requests that names the partition itself.
func (s *stage) client(opts ...kgo.Opt) *kgo.Client {
	s.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.addr), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(client.Close)
	return client
}

// request is the n-th request of a partition.
func request(partition, n int) *kgo.Record {
	id := fmt.Sprintf("umid-%d-%d", partition, n)
	return &kgo.Record{
		Topic: topic, Partition: int32(partition), Key: []byte(id), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(n)),
		Value: fmt.Appendf(nil, `{"umid":%q,"subAccountId":"acme_shop"}`, id),
	}
}

// publish writes the requests from one number up to another to a partition.
func (s *stage) publish(partition, from, to int) {
	s.t.Helper()
	var rs []*kgo.Record
	for n := from; n < to; n++ {
		rs = append(rs, request(partition, n))
	}
	s.send(s.client(), rs...)
}

func (s *stage) send(client *kgo.Client, rs ...*kgo.Record) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := client.ProduceSync(ctx, rs...).FirstErr(); err != nil {
		s.t.Fatal(err)
	}
}

// recordOf is a published request as it stands in the log.
func recordOf(r *kgo.Record) *worker.Record {
	return &worker.Record{Topic: r.Topic, Partition: int(r.Partition), Offset: r.Offset, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value}
}

// commits is what the group has committed for a partition.
func (s *stage) commit(partition int) committed {
	info := s.cluster.GroupInfo(group)
	if info == nil {
		return committed{offset: -1}
	}
	c, ok := info.Commits[topic][int32(partition)]
	if !ok {
		return committed{offset: -1}
	}
	return parseCommitted(c.Offset, c.Metadata)
}

// callerFunc is the API: it tells how an attempt for a message ended.
type callerFunc func(ctx context.Context, id string) worker.Verdict

// Cancel implements worker.Caller.
func (f callerFunc) Cancel(ctx context.Context, c worker.Call) worker.Verdict {
	return f(ctx, c.Target.ID)
}

// api cancels everything and counts the calls of each message. With a gate,
// calls wait until it is open.
type api struct {
	gate chan struct{} // nil = always open

	mu    sync.Mutex
	calls map[string]int
	cut   int // calls whose context ended under them
}

func newAPI() *api { return &api{calls: map[string]int{}} }

func (a *api) call(ctx context.Context, id string) worker.Verdict {
	a.mu.Lock()
	a.calls[id]++
	a.mu.Unlock()
	if a.gate != nil {
		select {
		case <-a.gate:
		case <-ctx.Done():
			a.mu.Lock()
			a.cut++
			a.mu.Unlock()
			return worker.Verdict{Retry: true, Open: true, Err: &worker.Error{Kind: worker.KindNetwork}}
		}
	}
	one := 1
	return worker.Verdict{Status: worker.StatusCancelled, Count: &one}
}

// called is how many messages were called, and how many calls that took.
func (a *api) called() (messages, calls int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.calls {
		calls += n
	}
	return len(a.calls), calls
}
