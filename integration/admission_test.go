package integration

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/broker"
	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// BenchmarkAdmission runs worker processes against the API simulator and measures
// every number that admission promises, from the simulator's ledger: at the moment
// at which a call arrives. `make bench-admission` prints its table. It is a
// benchmark because it needs a machine with time for it; what needs none is
// proved in virtual time, in worker/admission.
func BenchmarkAdmission(b *testing.B) {
	missed := 0
	for _, part := range []struct {
		name string
		run  func(*trial)
	}{{"Backlog", backlogTrial}, {"Deadlines", deadlineTrial}, {"Isolation", isolationTrial}, {"Outage", outageTrial}, {"Latency", latencyTrial}} {
		b.Run(part.name, func(b *testing.B) {
			tr := newTrial(b)
			tr.missed = &missed
			part.run(tr)
		})
	}
	if missed > 0 { // said here, because a trial that fails shows the logs of all its processes
		b.Errorf("%d promises were not kept", missed)
	}
}

// roundTrip is how long the API takes for a call on the average.
const roundTrip = 40 * time.Millisecond

var usualRoundTrip = simulator.Faults{Latency: simulator.Latency{Min: roundTrip / 2, Max: roundTrip * 3 / 2}}

// trial is one world in which something is measured.
type trial struct {
	*world
	used   int  // UMIDs so far
	missed *int // goals

	stills stills

	mu   sync.Mutex
	sent map[string]time.Time // when requests were published, by UMID; of those that are timed
}

// newTrial makes a world on real Kafka, or on the embedded broker if there is none.
func newTrial(b *testing.B) *trial {
	b.Helper()
	options := simulator.Options{Faults: usualRoundTrip}
	tr := &trial{sent: map[string]time.Time{}}
	if ok, _ := kafkatest.Available(); ok {
		tr.world = newWorld(b, kafkatest.Shared(b), 6, options)
	} else {
		brokers, create := embedded(b)
		tr.world = newWorldOn(b, brokers, create, 6, options)
	}
	tr.plain = true
	tr.stills.watch(b)
	return tr
}

func embedded(b *testing.B) (brokers []string, create createTopic) {
	b.Helper()
	kafkas, err := broker.Start(broker.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(kafkas.Close)
	transport := &kafka.Transport{}
	b.Cleanup(transport.CloseIdleConnections)
	client := &kafka.Client{Addr: kafka.TCP(kafkas.Addr()), Transport: transport}
	return []string{kafkas.Addr()}, func(name string, partitions int, settings map[string]string) {
		topic := broker.Topic{Name: name, Partitions: partitions, Settings: settings}
		if err := broker.CreateTopics(context.Background(), client, 1, topic); err != nil {
			b.Fatal(err)
		}
	}
}

// atMost and atLeast are a line of the table each.
func (tr *trial) atMost(promise string, goal, measured float64, detail string, args ...any) {
	tr.t.Helper()
	tr.row(promise, fmt.Sprintf("≤ %.4g", goal), measured <= goal, measured, detail, args)
}

func (tr *trial) atLeast(promise string, goal, measured float64, detail string, args ...any) {
	tr.t.Helper()
	tr.row(promise, fmt.Sprintf("≥ %.4g", goal), measured >= goal, measured, detail, args)
}

func (tr *trial) row(promise, goal string, met bool, measured float64, detail string, args []any) {
	tr.t.Helper()
	verdict := "ok"
	if !met {
		verdict = "**missed**"
		*tr.missed++
	}
	result(tr.t, promise, "%s\t%.3g\t%s\t%s", goal, measured, fmt.Sprintf(detail, args...), verdict)
}

// pass lets time pass in which something is measured.
func pass(d time.Duration) (from, to time.Time) {
	from = time.Now()
	return from, <-time.After(d)
}

// flood publishes n requests at once and returns when they stand in the topic.
func (tr *trial) flood(topic string, n int, fields func(i int) string) {
	tr.t.Helper()
	tr.publishTo(topic, tr.numbers(n), n, fields)
}

// numbers reserves n UMIDs.
func (tr *trial) numbers(n int) (from int) {
	from = tr.used
	tr.used += n
	return from
}

// timed makes requests for a load of which is noted when each is published.
func (tr *trial) timed(topic string, fields func() string) func(int) *kgo.Record {
	from := tr.numbers(1_000_000)
	return func(i int) *kgo.Record {
		id := umid(from + i)
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.sent[id] = time.Now()
		return plainRequest(topic, id, fields())
	}
}

// waits publishes timed requests for a while and returns how long it took until
// each was called, in order of length.
func (tr *trial) waits(topic string, perSecond int, d time.Duration, fields func() string) []time.Duration {
	tr.t.Helper()
	load := tr.loadOf(perSecond, tr.timed(topic, fields))
	from, to := pass(d)
	load.end()
	return tr.took(from, to, func(c simulator.Call) time.Time { return c.StartedAt })
}

// took is how long it took from the publication of the timed requests of a span
// until a moment of their first call, in order of length. Time in which this process
// stood still does not count.
func (tr *trial) took(from, to time.Time, until func(simulator.Call) time.Time) (all []time.Duration) {
	tr.t.Helper()
	tr.mu.Lock()
	meant := map[string]time.Time{}
	for id, at := range tr.sent {
		if !at.Before(from) && at.Before(to) {
			meant[id] = at
		}
	}
	tr.mu.Unlock()
	tr.eventually("the calls for the timed requests", func() error {
		all = all[:0]
		for id, at := range meant {
			if calls := tr.sim.CallsOf(id); len(calls) > 0 && !until(calls[0]).IsZero() {
				all = append(all, until(calls[0]).Sub(at)-tr.stills.between(at, until(calls[0])))
			}
		}
		if len(all) < len(meant) {
			return fmt.Errorf("%d of %d", len(all), len(meant))
		}
		return nil
	})
	slices.Sort(all)
	return all
}

// percentile of durations in order of length.
func percentile(all []time.Duration, p int) time.Duration { return all[(len(all)-1)*p/100] }

// callsIn are the calls that arrived in a span, of a sub-account or of all (""), in order.
func (tr *trial) callsIn(from, to time.Time, sub string) (calls []simulator.Call) {
	for _, c := range tr.sim.Calls() {
		if !c.StartedAt.Before(from) && c.StartedAt.Before(to) && (sub == "" || c.SubAccount == sub) {
			calls = append(calls, c)
		}
	}
	slices.SortFunc(calls, func(x, y simulator.Call) int { return x.StartedAt.Compare(y.StartedAt) })
	return calls
}

// rate is the calls per second in a span.
func (tr *trial) rate(from, to time.Time) float64 {
	return float64(len(tr.callsIn(from, to, ""))) / to.Sub(from).Seconds()
}

// fullest is the largest number of calls in any second of a span. Seconds that
// begin while this process stood still are left out: what arrived meanwhile is
// counted after that.
func (tr *trial) fullest(from, to time.Time) float64 {
	const pile = 20 * time.Millisecond // until that is counted
	calls, end, most := tr.callsIn(from, to, ""), 0, 0
	for i, c := range calls {
		for end < len(calls) && calls[end].StartedAt.Sub(c.StartedAt) < time.Second {
			end++
		}
		if tr.stills.between(c.StartedAt.Add(-pile), c.StartedAt.Add(1)) == 0 {
			most = max(most, end-i)
		}
	}
	return float64(most)
}

// declare changes what the API does to sub-accounts.
func (tr *trial) declare(rules map[string]simulator.SubAccountRule) {
	tr.t.Helper()
	if err := tr.sim.Declare(simulator.Scenario{SubAccounts: rules}); err != nil {
		tr.t.Fatal(err)
	}
}
