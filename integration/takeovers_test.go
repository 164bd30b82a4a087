package integration

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/consumer/records"
	"smscancel/integration/checker"
	"smscancel/integration/kafkatest"
	"smscancel/producer"
	"smscancel/worker"
	"smscancel/worker/metrics"
)

// relayBrokers lets a build with a planted defect run against the brokers of the
// test that made it.
var relayBrokers = flag.String("relay-brokers", "", "brokers for TestEveryOutcomeStandsOnceAcrossTakeoversUnderLoad; empty = start one")

// Fault: a request partition gets a new owner again and again, each time while
// the owner before is in the middle of its appends and goes on until it is
// refused. Promise: every one of 12,000 requests has exactly one outcome.
func TestEveryOutcomeStandsOnceAcrossTakeoversUnderLoad(t *testing.T) {
	brokers := strings.Split(*relayBrokers, ",")
	if *relayBrokers == "" {
		brokers = kafkatest.Shared(t).Bootstrap()
	}
	const sources, ledgers = 8, 4 // two sources share a ledger partition
	r := newRelay(t, brokers, ledgers, int64(length(1500, 8000)))
	var done sync.WaitGroup
	for p := range sources {
		done.Go(func() { r.run(p) })
	}
	done.Wait()
	report := r.report(sources)
	t.Logf("%d owners were refused; %s", r.refused.Load(), report)
	if !report.OK() {
		t.Error(report)
	}
	if n := r.refused.Load(); n < sources {
		t.Errorf("only %d owners were refused: that proves too little", n)
	}
}

// relay hands request partitions from owner to owner. The requests are those of
// a topic that nobody reads: their offsets are enough.
type relay struct {
	t         *testing.T
	brokers   []string
	ledger    *producer.Ledger
	topic     string // of the requests
	requests  int64  // of each partition
	takeovers atomic.Int64
	refused   atomic.Int64
}

func newRelay(t *testing.T, brokers []string, partitions int, requests int64) *relay {
	t.Helper()
	outcomes := fmt.Sprintf("relay-%08x.outcomes", rand.Uint32())
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(t.Context(), int32(partitions), -1, nil, outcomes); err != nil {
		t.Fatalf("create %s: %v", outcomes, err)
	}
	awaitLeaders(t, admin, outcomes, partitions)
	transport := &kafka.Transport{MetadataTopics: []string{outcomes}}
	t.Cleanup(transport.CloseIdleConnections)
	api := &kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport}
	return &relay{t: t, brokers: brokers, topic: "relay.requests", requests: requests, ledger: &producer.Ledger{
		Client: api, Records: &records.Client{Transport: transport, Addr: api.Addr}, Topic: outcomes,
		Partitions: partitions, ClusterID: "relay", Metrics: metrics.New(), Log: zerolog.Nop(),
	}}
}

// awaitLeaders waits until every partition of a new topic has a leader that knows it.
func awaitLeaders(t testing.TB, admin *kadm.Client, topic string, partitions int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err == nil && ends.Error() == nil && len(ends[topic]) == partitions {
			return
		}
		if worker.Sleep(ctx, 50*time.Millisecond) != nil {
			t.Fatalf("the leaders of %s: %v, %v", topic, err, ends.Error())
		}
	}
}

// run gives one partition to owner after owner, until one writes the last outcome.
func (r *relay) run(partition int) {
	var owners sync.WaitGroup
	defer owners.Wait()
	for r.t.Context().Err() == nil {
		o, err := r.takeOver(partition)
		if err != nil {
			r.t.Errorf("takeover of partition %d: %v", partition, err)
			return
		}
		wrote := make(chan bool, 1)
		enough := rand.N(60) + 1
		owners.Go(func() { o.write(enough, wrote) })
		if finished := <-wrote; finished {
			return
		}
	}
}

// owner is one hold on a partition.
type owner struct {
	*relay
	partition int
	ledger    *producer.Writer
	settled   map[int64]bool
}

func (r *relay) takeOver(partition int) (*owner, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	ledger, err := r.ledger.Fence(ctx, r.topic, partition)
	if err != nil {
		return nil, err
	}
	r.takeovers.Add(1)
	o := &owner{relay: r, partition: partition, ledger: ledger, settled: map[int64]bool{}}
	err = ledger.Replay(ctx, 0, func(s worker.Settled) { o.settled[s.Record.Offset] = true }, func(int64, int64) {})
	if err != nil {
		ledger.Close()
	}
	return o, err
}

// write appends an outcome for every request that has none, up to 20 at a time.
// After enough of them it says so, and goes on until it is refused or done.
func (o *owner) write(enough int, wrote chan<- bool) {
	defer o.ledger.Close()
	hand := make(chan worker.Receipt, 20)
	go func() {
		defer close(hand)
		for offset := range o.requests {
			if !o.settled[offset] {
				hand <- o.ledger.Append(o.outcome(offset))
			}
		}
	}()
	n := 0
	var failed error
	for receipt := range hand {
		if _, err := receipt.Wait(context.Background()); err != nil {
			failed = err
			continue
		}
		if n++; n == enough {
			wrote <- false
		}
	}
	if failed != nil {
		o.refused.Add(1)
	}
	if n < enough {
		wrote <- failed == nil
	}
}

func (o *owner) outcome(offset int64) *worker.Outcome {
	rec := &worker.Record{Topic: o.topic, Partition: o.partition, Offset: offset, Timestamp: time.UnixMilli(1), Value: []byte("{}")}
	req := &worker.Request{Target: worker.Target{SubAccountID: "acme_shop", ID: umid(int(offset))}}
	outcome := worker.NewOutcome(rec, req, "relay")
	outcome.Status, outcome.CancelledCount, outcome.Attempts = worker.StatusCancelled, new(1), 1
	return outcome
}

// report reads the whole ledger.
func (r *relay) report(sources int) *checker.Report {
	outcomes := map[place]int{}
	report := &checker.Report{Total: map[checker.Rule]int{}, Counts: checker.Counts{Takeovers: int(r.takeovers.Load())}}
	for _, record := range readTopic(r.t, r.brokers, r.ledger.Topic) {
		o, err := worker.DecodeOutcome(record.Value)
		if err != nil {
			r.t.Fatalf("outcome at %d/%d: %v", record.Partition, record.Offset, err)
		}
		outcomes[place{o.Source.Topic, o.Source.Partition, o.Source.Offset}]++
		report.Counts.Outcomes++
	}
	for p := range sources {
		for offset := range r.requests {
			report.Counts.Requests++
			rule, n := checker.Lost, outcomes[place{r.topic, p, offset}]
			if n == 1 {
				continue
			}
			if n > 1 {
				rule = checker.Second
			}
			report.Total[rule]++
			report.Violations = append(report.Violations, checker.Violation{Rule: rule, Topic: r.topic, Partition: p, Offset: offset,
				What: fmt.Sprintf("it has %d outcomes", n)})
		}
	}
	return report
}
