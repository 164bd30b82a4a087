package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/bench"
	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// contest is a world in which contenders take turns.
type contest struct {
	*world
	offsets  *kadm.Client
	http     *simulator.Server // the same API without TLS
	name     string            // with which those of topics and groups begin
	turns    int
	sample   []byte             // value of an outcome of the worker's
	touched  map[string]bool    // UMIDs of which the latency does not count
	scenario simulator.Scenario // what the API knows of messages

	// What a workload chooses.
	tls         bool
	concurrency int      // calls at once of L and W
	subAccounts int      // among which the requests are shared
	flags       []string // of the worker, besides
}

var contender = sync.OnceValues(func() (string, error) { return build("contender", "integration/bench/contender", "0") })

func newContest(tb testing.TB, limits simulator.Limits) *contest {
	tb.Helper()
	// A single sub-account would leave a sixteenth of the worker's slots to others.
	c := &contest{world: newWorld(tb, kafkatest.Shared(tb), 10, simulator.Options{MaxCalls: 1000, Limits: limits}), concurrency: 500, subAccounts: 4}
	c.plain = true
	c.name = c.requests
	c.offsets = c.admin()
	var err error
	if c.http, err = c.sim.Start(context.Background(), simulator.ServerOptions{}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.http.Close)
	return c
}

// takes is how long the API takes for every call.
func (c *contest) takes(d time.Duration) {
	c.t.Helper()
	if err := c.sim.SetFaults(simulator.Faults{Latency: simulator.Latency{Fixed: d}}); err != nil {
		c.t.Fatal(err)
	}
}

// onRequests makes a request topic for what comes now. Its records have the
// broker's time, as outcomes have: so no two clocks are compared.
func (c *contest) onRequests(partitions int) {
	c.t.Helper()
	c.turns++
	c.parts, c.n = partitions, partitions
	c.requests = fmt.Sprintf("%s-%d", c.name, c.turns)
	c.create(c.requests, partitions, map[string]string{"message.timestamp.type": "LogAppendTime"})
}

// turn makes an empty outcome topic and a new group for the next contender, to
// which all requests are new, and to the API all messages are scheduled.
func (c *contest) turn() {
	c.t.Helper()
	c.turns++
	c.outcomes, c.group = fmt.Sprintf("%s-%d.outcomes", c.name, c.turns), fmt.Sprintf("%s-%d", c.name, c.turns)
	c.create(c.outcomes, c.n, outcomeSettings())
	faults := c.sim.Faults()
	if err := c.sim.Reset(); err != nil {
		c.t.Fatal(err)
	}
	if err := c.sim.SetFaults(faults); err != nil {
		c.t.Fatal(err)
	}
	if err := c.sim.Declare(c.scenario); err != nil {
		c.t.Fatal(err)
	}
}

// request is the n-th request of every contender.
func (c *contest) request(n int) *kgo.Record {
	target := bench.Target(n, c.subAccounts)
	return plainRequest(c.requests, target.ID, fmt.Sprintf(`"subAccountId":%q`, target.SubAccountID))
}

// preload puts n requests into the topic.
func (c *contest) preload(n int) {
	c.t.Helper()
	client := c.client(kgo.MaxBufferedRecords(50_000), kgo.ProducerBatchMaxBytes(900_000))
	defer client.Close()
	for i := range n {
		client.Produce(c.t.Context(), c.request(i), c.published)
	}
	if err := client.Flush(c.t.Context()); err != nil {
		c.t.Fatalf("publish: %v", err)
	}
}

func (c *contest) published(_ *kgo.Record, err error) {
	if err != nil {
		c.t.Errorf("publish: %v", err)
	}
}

// pace publishes n requests evenly.
func (c *contest) pace(n, perSecond int) {
	c.t.Helper()
	client := c.client(kgo.ProducerLinger(0))
	defer client.Close()
	beat := time.NewTicker(time.Millisecond)
	defer beat.Stop()
	begin := time.Now()
	for i := 0; i < n; <-beat.C {
		for due := int(time.Since(begin).Seconds() * float64(perSecond)); i < n && i <= due; i++ {
			client.Produce(c.t.Context(), c.request(i), c.published)
		}
	}
	if err := client.Flush(c.t.Context()); err != nil {
		c.t.Fatalf("publish: %v", err)
	}
}

// spec is what L and B have in common.
func (c *contest) spec(name string, n int) bench.Spec {
	s := bench.Spec{Contender: name, Count: n, API: c.http.URL(), Key: secret, Concurrency: c.concurrency, SubAccounts: c.subAccounts,
		Brokers: c.brokers, Requests: c.requests, Outcomes: c.outcomes, Group: c.group}
	if c.tls {
		s.API, s.CAFile = c.api.URL(), c.ca
	}
	return s
}

// limit runs L: n requests at once, or at a rate.
func (c *contest) limit(n, perSecond int) figures {
	c.t.Helper()
	c.turn()
	s := c.spec("limit", n)
	s.Rate = perSecond
	return figuresOf(c.await(c.contender(s, nil))[0])
}

// limitBeside runs L while a bare client reads and writes through the broker.
func (c *contest) limitBeside(n int) (limit, bare figures) {
	c.t.Helper()
	c.turn()
	from, to, err := os.Pipe()
	if err != nil {
		c.t.Fatal(err)
	}
	l, k := c.spec("limit", n), c.spec("bare", n)
	l.Progress, k.Progress, k.Sample = true, true, c.sample
	reports := c.await(c.contender(k, from), c.contender(l, to))
	return figuresOf(reports[1]), figuresOf(reports[0])
}

// baseline runs B on requests that are there.
func (c *contest) baseline(n int) figures {
	c.t.Helper()
	c.turn()
	first := time.Now()
	f := figuresOf(c.await(c.contender(c.spec("baseline", n), nil))[0])
	f.latency, _ = c.read(n, first)
	return f
}

// running is a contender's process.
type running struct {
	cmd         *exec.Cmd
	out, errors bytes.Buffer
}

func (c *contest) contender(s bench.Spec, progress *os.File) *running {
	c.t.Helper()
	path, err := contender()
	if err != nil {
		c.t.Fatalf("build the contenders: %v", err)
	}
	spec, err := json.Marshal(s)
	if err != nil {
		c.t.Fatal(err)
	}
	r := &running{cmd: exec.CommandContext(c.t.Context(), path)}
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = bytes.NewReader(spec), &r.out, &r.errors
	if progress != nil {
		r.cmd.ExtraFiles = []*os.File{progress}
		defer progress.Close()
	}
	if err := r.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// await waits for what contenders have to say.
func (c *contest) await(all ...*running) []bench.Report {
	c.t.Helper()
	reports := make([]bench.Report, len(all))
	for i, r := range all {
		err := r.cmd.Wait()
		if err == nil {
			err = json.Unmarshal(r.out.Bytes(), &reports[i])
		}
		if err != nil {
			c.t.Fatalf("%v: %v\n%s", r.cmd.Args, err, r.errors.String())
		}
	}
	return reports
}

// worker starts W.
func (c *contest) worker() *replica {
	c.t.Helper()
	url := c.http.URL()
	if c.tls {
		url = c.api.URL()
	}
	return c.start("worker", append([]string{"--api-url", url, "--concurrency", fmt.Sprint(c.concurrency)}, c.flags...)...)
}

// drain runs W on n requests that are there. It begins with the first call that
// arrives at the API, as L does.
func (c *contest) drain(n int) figures {
	c.t.Helper()
	c.turn()
	r := c.worker()
	if err := c.sim.Await(within(c.t), func(s simulator.Summary) bool { return s.Calls > 0 }); err != nil {
		c.t.Fatal(err)
	}
	return c.finish(r, n, time.Now(), c.usage(r))
}

// burst runs W on n requests that come at once, while it runs all partitions: in a
// run of two seconds the time between the first takeover and the last would show.
// It begins with the first call.
func (c *contest) burst(n int) figures {
	c.t.Helper()
	c.onRequests(c.parts)
	c.turn()
	r := c.worker()
	c.waitRunning(r)
	before := c.usage(r)
	called := make(chan time.Time, 1)
	ctx := within(c.t)
	go func() {
		c.sim.Await(ctx, func(s simulator.Summary) bool { return s.Calls > 0 })
		called <- time.Now()
	}()
	c.preload(n)
	return c.finish(r, n, <-called, before)
}

// serve runs W at a steady rate, from an empty topic on.
func (c *contest) serve(n, perSecond int) figures {
	c.t.Helper()
	c.onRequests(c.parts)
	c.turn()
	r := c.worker()
	c.waitRunning(r)
	before, begin := c.usage(r), time.Now()
	c.pace(n, perSecond)
	return c.finish(r, n, begin, before)
}

func (c *contest) usage(r *replica) bench.Usage {
	c.t.Helper()
	u, err := bench.UsageOf(r.cmd.Process.Pid)
	if err != nil {
		c.t.Fatal(err)
	}
	return u
}

// finish waits until every request has its outcome.
func (c *contest) finish(r *replica, n int, begin time.Time, before bench.Usage) figures {
	c.t.Helper()
	c.settled(n)
	after := c.usage(r)
	f := figures{cpu: after.CPU - before.CPU, rss: after.PeakRSS, done: n}
	var last time.Time
	f.latency, last = c.read(n, begin)
	f.rate = float64(n) / last.Sub(begin).Seconds()
	r.stop()
	return f
}

// settled waits until there are n outcomes. A fence's marker stands in each
// partition besides, and one more wherever the worker had to confirm its hold.
func (c *contest) settled(n int) {
	c.t.Helper()
	for outcomes, markers := 0, c.parts; outcomes < n; markers += n - outcomes {
		c.until(n + markers)
		outcomes = 0
		c.scan(c.outcomes, nil, func(*kgo.Record) { outcomes++ })
	}
}

// until waits until the outcome topic has so many records.
func (c *contest) until(n int) {
	c.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Minute); c.appended() < n; <-tick.C {
		if time.Now().After(deadline) {
			c.t.Fatalf("%d of %d records in the outcome topic", c.appended(), n)
		}
	}
}

// appended is how many records the outcome topic has.
func (c *contest) appended() (sum int) {
	ends, err := c.offsets.ListEndOffsets(c.t.Context(), c.outcomes)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		c.t.Fatalf("ends of %s: %v", c.outcomes, err)
	}
	ends.Each(func(o kadm.ListedOffset) { sum += int(o.Offset) })
	return sum
}

// read reads the outcome topic: one outcome for each of n requests, or it fails.
// The latency of each is from the append of the request to that of its outcome, by
// the broker's clock; of a request that stood there before, from the beginning.
func (c *contest) read(n int, begin time.Time) (latency bench.Latency, last time.Time) {
	c.t.Helper()
	seen := map[string]bool{}
	var all []time.Duration
	c.scan(c.outcomes, nil, func(r *kgo.Record) {
		var o struct {
			UMID   string
			Source struct{ Timestamp time.Time }
		}
		if err := json.Unmarshal(r.Value, &o); err != nil {
			c.t.Fatalf("outcome %s: %v", r.Value, err)
		}
		if seen[o.UMID] {
			c.t.Errorf("a second outcome of %s", o.UMID)
		}
		seen[o.UMID] = true
		since := o.Source.Timestamp
		if since.Before(begin) {
			since = begin
		}
		if !c.touched[o.UMID] {
			all = append(all, r.Timestamp.Sub(since))
		}
		if r.Timestamp.After(last) {
			last = r.Timestamp
		}
		c.sample = r.Value
	})
	if len(seen) != n {
		c.t.Errorf("%d outcomes for %d requests", len(seen), n)
	}
	return bench.LatencyOf(all), last
}
