package schedule

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/checker"
	"smscancel/integration/simulator"
	"smscancel/worker/api"
)

const (
	clusterID    = "virtual"
	group        = "smscancel"
	outcomeTopic = "outcomes"
	brokerPort   = 9092 // of the first of three
	apiAddress   = "127.0.0.1:8088"
	canary       = "canary-1f6c0d52-key" // the API key; it must stand nowhere

	// patience is how long, in virtual time, everything may take to come to an
	// end once nothing goes wrong any more.
	patience = 20 * time.Minute
)

var brokers = []string{"localhost:9092", "localhost:9093", "localhost:9094"}

var requestTopics = []string{"requests.urgent", "requests.bulk"}

// world is one run of a plan. It lives inside a bubble of virtual time.
type world struct {
	plan    *Plan
	born    time.Time
	network kfake.VirtualNetwork
	cluster *kfake.Cluster
	sim     *simulator.Simulator
	server  *http.Server
	keys    api.Keys

	coordinator *coordinator
	own         *link       // of the test itself
	client      *kgo.Client // of the test itself
	tale        *tale
	file        operatorsFile

	mu         sync.Mutex
	slots      map[int]*replica // the latest of each slot
	replicas   []*replica       // all there ever were
	ambushes   []*ambush
	mended     bool // nothing goes wrong any more
	published  []published
	logs       map[string]int // how often a request topic was created again
	commits    []checker.Commit
	lostBelow  map[string]map[int]int64
	background sync.WaitGroup
}

func newWorld(p *Plan) (*world, error) {
	w := &world{plan: p, born: time.Now(), slots: map[int]*replica{}, lostBelow: map[string]map[int]int64{}, logs: map[string]int{}}
	w.tale = newTale(w.born)
	var err error
	if w.cluster, err = kfake.NewCluster(kfake.NumBrokers(3), kfake.Ports(brokerPort, brokerPort+1, brokerPort+2), kfake.ListenFn(w.network.Listen),
		kfake.ClusterID(clusterID), kfake.GroupMinSessionTimeout(time.Second)); err != nil {
		return nil, fmt.Errorf("start the embedded broker: %w", err)
	}
	w.coordinator = w.watchCoordinator()
	if err := w.createTopics(); err != nil {
		return nil, err
	}
	if w.keys, err = api.LiteralKey(canary); err != nil {
		return nil, err
	}
	if err := w.startAPI(); err != nil {
		return nil, err
	}
	w.own = newLink(w, rivalSlot+1, "the test")
	w.client, err = w.newClient()
	return w, err
}

func (w *world) topics() []string { return requestTopics[:w.plan.Setting.Topics] }

func (w *world) createTopics() error {
	for _, topic := range w.topics() {
		if err := w.createRequests(topic); err != nil {
			return fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	settings := map[string]string{"retention.ms": "-1"}
	if w.plan.Setting.AppendTime {
		settings["message.timestamp.type"] = "LogAppendTime"
	}
	if err := w.cluster.CreateTopic(outcomeTopic, int32(w.plan.Setting.N), settings); err != nil {
		return fmt.Errorf("create topic %s: %w", outcomeTopic, err)
	}
	return nil
}

// createRequests creates a request topic from which nothing is deleted but by
// retain: some requests are dated before 1970.
func (w *world) createRequests(topic string) error {
	return w.cluster.CreateTopic(topic, int32(w.plan.Setting.Partitions), map[string]string{"retention.ms": "-1"})
}

func (w *world) startAPI() (err error) {
	s := w.plan.Setting
	if w.sim, err = simulator.New(simulator.Options{
		Keys: []simulator.Key{{Value: canary}}, Faults: s.API, RepeatNotFound: s.RepeatNotFound, BatchSize: 7,
		Scenario: &simulator.Scenario{Messages: s.Messages},
	}); err != nil {
		return err
	}
	listener, err := w.network.Listen("tcp", apiAddress)
	if err != nil {
		return err
	}
	w.server = &http.Server{Handler: w.sim.Handler(), Protocols: new(http.Protocols)}
	w.server.Protocols.SetHTTP1(true)
	go w.server.Serve(listener) //nolint:errcheck // it ends when it is closed
	return nil
}

// run plays the plan, mends everything, waits until all is done, and stops.
// The error says what did not come to its end.
func (w *world) run() error {
	w.play()
	w.mend()
	err := w.settle()
	if stopped := w.stopAll(); err == nil {
		err = stopped
	}
	return err
}

// play goes through requests and events in the order of their times.
func (w *world) play() {
	requests, events := w.plan.Requests, w.plan.Events
	for len(requests) > 0 || len(events) > 0 {
		switch {
		case len(requests) == 0 || len(events) > 0 && events[0].At <= requests[0].At:
			w.sleepUntil(events[0].At)
			w.happen(&events[0])
			events = events[1:]
		default:
			n := batchLength(requests)
			w.sleepUntil(requests[0].At)
			w.publish(requests[:n])
			requests = requests[n:]
		}
	}
	w.sleepUntil(w.plan.Length)
}

// batchLength is how many requests are published together.
func batchLength(rs []Request) int {
	n := 1
	for n < len(rs) && rs[n].At == rs[0].At && rs[n].Transaction == rs[0].Transaction {
		n++
	}
	return n
}

func (w *world) sleepUntil(at time.Duration) { time.Sleep(at - time.Since(w.born)) }

// after runs something later, unless everything is mended by then.
func (w *world) after(d time.Duration, do func()) {
	w.background.Go(func() {
		time.Sleep(d)
		do()
	})
}

// settle waits until every request partition is committed to its end.
func (w *world) settle() error {
	deadline := time.Now().Add(patience)
	for {
		behind := w.behind()
		if len(behind) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not done %s after everything was mended: %v%s", patience, behind, w.states())
		}
		time.Sleep(time.Second)
	}
}

// behind lists the request partitions whose watermark is not at their end.
func (w *world) behind() []string {
	info := w.cluster.GroupInfo(group)
	var behind []string
	for _, topic := range w.topics() {
		for _, p := range w.cluster.PartitionInfos(topic) {
			committed := int64(0)
			if info != nil {
				committed = info.Commits[topic][p.Partition].Offset
			}
			if committed != p.HighWatermark { // beyond it: of a log that is gone
				behind = append(behind, fmt.Sprintf("%s/%d at %d of %d", topic, p.Partition, committed, p.HighWatermark))
			}
		}
	}
	return behind
}

// mend ends everything that goes wrong and brings the replicas back.
func (w *world) mend() {
	w.tale.tell("everything is mended")
	w.mu.Lock()
	w.mended = true
	w.mu.Unlock()
	w.background.Wait() // every fault that lasts ends on its own
	if err := w.sim.SetFaults(simulator.Faults{Latency: w.plan.Setting.API.Latency}); err != nil {
		panic(err)
	}
	for slot := range w.plan.Setting.Replicas {
		w.start(slot)
	}
}

// stopAll tells every process to stop and waits until it has.
func (w *world) stopAll() error {
	w.tale.tell("all are told to stop")
	var err error
	for _, r := range w.everyReplica() {
		r.stop()
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for _, r := range w.everyReplica() {
		select {
		case <-r.done:
		case <-deadline.C:
			return fmt.Errorf("%s does not end", r.name)
		}
		if r.exit != nil {
			err = fmt.Errorf("%s ended with: %w", r.name, r.exit)
		}
	}
	return err
}

func (w *world) everyReplica() []*replica {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.replicas)
}

// close ends what is not a worker.
func (w *world) close() {
	w.client.Close()
	w.own.cut(Both, 0)
	w.sim.Close()
	w.server.Close()
	for _, r := range w.everyReplica() {
		r.link.kill()
		r.link.cut(Both, 0)
	}
	w.coordinator.close()
	w.cluster.Close()
	time.Sleep(afterglow)
}

// afterglow is how long, in virtual time, what still sleeps may go on: with the
// end of the bubble's first goroutine time stands still, and whatever is left
// then fails the test.
const afterglow = 10 * time.Minute

func (w *world) publish(rs []Request) {
	client := w.client
	if rs[0].Transaction > 0 {
		var err error
		client, err = w.newClient(kgo.TransactionalID(fmt.Sprintf("shop-%d", rs[0].Transaction)))
		if err != nil {
			panic(err)
		}
		defer client.Close()
		if err := client.BeginTransaction(); err != nil {
			panic(err)
		}
	}
	ctx := context.Background()
	records := make([]*kgo.Record, len(rs))
	for i, r := range rs {
		records[i] = &kgo.Record{Topic: requestTopics[r.Topic], Partition: int32(r.Partition), Key: r.Key, Value: r.Value, Timestamp: w.dated(r)}
		for _, h := range r.Headers {
			records[i].Headers = append(records[i].Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
		}
	}
	results := client.ProduceSync(ctx, records...)
	if err := results.FirstErr(); err != nil {
		panic(fmt.Sprintf("publish: %v", err)) // the test's own client meets no faults
	}
	if rs[0].Transaction > 0 {
		if err := client.EndTransaction(ctx, kgo.TransactionEndTry(!rs[0].Abort)); err != nil {
			panic(err)
		}
		if rs[0].Abort {
			w.tale.tell("%d requests of an aborted transaction", len(rs))
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range results {
		w.published = append(w.published, published{evidence(r.Record), w.logs[r.Record.Topic]})
	}
}

// dated is the timestamp of a request. Two without one, at the same offset of a
// topic and of its successor of the same name, would have the same outcomeId.
func (w *world) dated(r Request) time.Time {
	at := time.Now().Add(-r.Timestamp)
	w.mu.Lock()
	defer w.mu.Unlock()
	if at.Before(time.UnixMilli(0)) && w.logs[requestTopics[r.Topic]] > 0 {
		return time.Now()
	}
	return at
}
