package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/simulator"
	"smscancel/worker"
)

// within is a context for one step of a test.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// client is another client library than the worker's, closed with the test.
// Keyed records go where Java's partitioner would send them.
func (w *world) client(options ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.brokers...)}, options...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.Close)
	return client
}

func (w *world) admin() *kadm.Client { return kadm.NewClient(w.client()) }

// produce writes records as they stand and in their order, and notes in them
// where they went.
func (w *world) produce(client *kgo.Client, records ...*kgo.Record) {
	w.t.Helper()
	if err := client.ProduceSync(within(w.t), records...).FirstErr(); err != nil {
		w.t.Fatalf("produce: %v", err)
	}
}

// requestsFor are plain requests, one for each message.
func (w *world) requestsFor(umids ...string) []*kgo.Record {
	records := make([]*kgo.Record, len(umids))
	for i, id := range umids {
		records[i] = &kgo.Record{Topic: w.requests, Key: []byte(id), Value: fmt.Appendf(nil, `{"umid":%q,"subAccountId":"acme_shop"}`, id), Headers: traced()}
	}
	return records
}

// umidsIn makes n UMIDs, numbered from a number on, that belong in one
// partition of the request topic.
func (w *world) umidsIn(partition, from, n int) []string {
	all := make([]int, w.parts)
	for i := range all {
		all[i] = i
	}
	balancer := kafka.Murmur2Balancer{Consistent: true}
	var ids []string
	for ; len(ids) < n; from++ {
		if id := umid(from); balancer.Balance(kafka.Message{Key: []byte(id)}, all...) == partition {
			ids = append(ids, id)
		}
	}
	return ids
}

// ends are the ends of a topic's partitions, records of open transactions included.
func (w *world) ends(topic string) map[int]int64 {
	w.t.Helper()
	listed, err := w.admin().ListEndOffsets(within(w.t), topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		w.t.Fatalf("ends of %s: %v", topic, err)
	}
	ends := map[int]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[int(o.Partition)] = o.Offset })
	return ends
}

// commits are what the group has committed for the request topic.
func (w *world) commits() map[int]kadm.Offset {
	w.t.Helper()
	fetched, err := w.admin().FetchOffsetsForTopics(within(w.t), w.group, w.requests)
	if err != nil {
		w.t.Fatalf("commits of %s: %v", w.group, err)
	}
	commits := map[int]kadm.Offset{}
	fetched.Each(func(o kadm.OffsetResponse) { commits[int(o.Partition)] = o.Offset })
	return commits
}

// setOffsets commits for a group without members, as an operator would.
func (w *world) setOffsets(offsets map[int]int64, metadata string) {
	w.t.Helper()
	w.setup.OffsetsSet = true
	set := kadm.Offsets{}
	for p, at := range offsets {
		set.Add(kadm.Offset{Topic: w.requests, Partition: int32(p), At: at, LeaderEpoch: -1, Metadata: metadata})
	}
	// The coordinator lets go of a member that has left only after a moment.
	w.eventually("the group to be empty", func() error { return w.admin().CommitAllOffsets(within(w.t), w.group, set) })
}

// startAt starts a worker that knows other addresses of the brokers.
func (w *world) startAt(brokers []string, name string, flags ...string) *replica {
	w.t.Helper()
	own := w.brokers
	defer func() { w.brokers = own }()
	w.brokers = brokers
	return w.start(name, flags...)
}

// waitSettled waits until every record that stands in the request topic now is
// behind the watermark of one of the replicas.
func (w *world) waitSettled(replicas ...*replica) {
	w.t.Helper()
	ends := w.ends(w.requests)
	w.eventually("all requests to be settled", func() error { return settledUpTo(ends, replicas) })
}

// settledUpTo says what is not behind the watermark of one of the replicas.
func settledUpTo(ends map[int]int64, replicas []*replica) error {
	settled := map[int]bool{}
	for _, r := range replicas {
		s, err := r.status()
		if err != nil {
			return err
		}
		for _, p := range s.Partitions {
			settled[p.Partition] = settled[p.Partition] || p.State == "running" && p.Watermark >= ends[p.Partition]
		}
	}
	for p, end := range ends {
		if !settled[p] {
			return fmt.Errorf("partition %d is not settled up to %d", p, end)
		}
	}
	return nil
}

// get asks the status server of a worker.
func (r *replica) get(path string) (code int, body string, err error) {
	client := http.Client{Timeout: 10 * time.Second}
	res, err := client.Get("http://" + r.addr + path)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	return res.StatusCode, string(content), err
}

// metric adds up all series of a metric.
func (r *replica) metric(name string) float64 {
	r.t.Helper()
	all, err := r.metrics()
	if err != nil {
		r.t.Fatal(err)
	}
	return all[name]
}

// sum adds up a field of all log lines.
func (r *replica) sum(field string) float64 {
	sum := 0.0
	for _, line := range r.lines() {
		n, _ := line[field].(float64)
		sum += n
	}
	return sum
}

// waitUnready waits until a worker that still runs says that it is not ready,
// and that its reason contains every text.
func (w *world) waitUnready(r *replica, texts ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s to be unready for %q", r.name, texts), func() error {
		if r.ended() {
			w.t.Fatalf("%s has ended: %v", r.name, r.exit)
		}
		code, reason, err := r.get("/readyz")
		if err != nil {
			return err
		}
		for _, text := range texts {
			if code != http.StatusServiceUnavailable || !strings.Contains(reason, text) {
				return fmt.Errorf("/readyz says %d %s", code, reason)
			}
		}
		return nil
	})
}

func (w *world) waitReady(r *replica) {
	w.t.Helper()
	w.eventually(r.name+" to be ready", func() error {
		code, reason, err := r.get("/readyz")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("/readyz says %d %s", code, reason)
		}
		return err
	})
}

func (r *replica) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// found is one outcome as it stands in the topic.
type found struct {
	record  *kgo.Record
	outcome *worker.Outcome
}

// readOutcomes reads the outcome topic whole, by request. Two outcomes for one
// request fail the test.
func (w *world) readOutcomes() map[place]found {
	w.t.Helper()
	all := map[place]found{}
	for _, r := range readTopic(w.t, w.brokers, w.outcomes) {
		o := w.checkRecord(r)
		at := place{o.Source.Topic, o.Source.Partition, o.Source.Offset}
		if other, twice := all[at]; twice {
			w.t.Errorf("request %+v has two outcomes:\n%s\n%s", at, other.record.Value, r.Value)
		}
		all[at] = found{r, o}
	}
	return all
}

// at is where a request was produced.
func at(r *kgo.Record) place { return place{r.Topic, int(r.Partition), r.Offset} }

// callsOf counts the calls for some messages.
func callsOf(sim *simulator.Simulator, umids []string) int {
	n := 0
	for _, id := range umids {
		n += len(sim.CallsOf(id))
	}
	return n
}
