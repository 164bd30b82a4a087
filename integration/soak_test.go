package integration

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// Faults: two of three replicas are killed, paused, stopped and started at
// random, the only broker is killed, stopped and paused, the API answers 429
// and 5xx, hangs, cuts and truncates, now and then in storms. Promises: every
// request has exactly one outcome, and a worker that lives through all of it
// uses no more memory, goroutines, file descriptors and connections in the last
// quarter of the run than in the second. SMSCANCEL_SOAK is how long,
// SMSCANCEL_SOAK_RATE how many requests a second.
func TestASoakUnderRandomFaultsLeaksNothing(t *testing.T) {
	kafkatest.Require(t)
	length := duration(t, "SMSCANCEL_SOAK", 8*time.Second)
	s := newSoak(t, length)
	s.publisher(number("SMSCANCEL_SOAK_RATE", 200))
	watched := s.veteran.watch(max(length/360, time.Second/4))
	s.weather(length, watched)
	s.setFaults(s.calm)
	s.recover()
	s.finishPublishing()
	all := append(slices.Clone(s.replicas), s.veteran)
	ends := s.ends(s.requests)
	s.advances("what is left after the weather", func() (sum float64, done bool) {
		for _, r := range all {
			sum += float64(r.settled())
		}
		return sum, settledUpTo(ends, all) == nil
	})
	samples := watched.stop()
	for _, r := range all {
		r.stop()
	}
	found := s.audit()
	flat := s.judge(length, samples, watched.missed)
	result(t, fmt.Sprintf("SOAK=%s", length), "%d requests at %d/s, %d calls, faults %v, API faults %d; 0 missing, 0 second outcomes, %d ambiguous, %v; %s",
		s.published.Load(), s.rate, found.calls, s.did, s.apiFaults(), found.unclear, found.byStatus, flat)
}

type soak struct {
	*storm
	veteran *replica // lives through the whole run
	calm    simulator.Faults
	rate    int

	client     *kgo.Client
	published  atomic.Int64
	refused    atomic.Int64
	stopClient func()
}

func newSoak(t *testing.T, length time.Duration) *soak {
	seed := uint64(number("SMSCANCEL_SOAK_SEED", int(time.Now().UnixNano()&0xffffff)))
	t.Logf("SMSCANCEL_SOAK_SEED=%d", seed)
	calm := simulator.Faults{
		Rates: map[string]float64{"429": .001, "500-after": .002, "502": .002, "503": .003, "hang-after": .0005, "hang-before": .0005,
			"reset-after": .002, "reset-before": .002, "truncated": .002, "html": .001},
		RetryAfter: "1", Latency: simulator.Latency{Median: 5 * time.Millisecond, P99: 80 * time.Millisecond}, Seed: seed,
	}
	w := newWorld(t, kafkatest.Start(t, kafkatest.Options{}), 6, simulator.Options{Faults: calm})
	w.plain = true
	// A window much shorter than the run, so that the index is full before the
	// second quarter.
	flags := []string{"--dedupe-window", (length / 6).String()}
	s := &soak{calm: calm, storm: &storm{world: w, dice: rand.New(rand.NewPCG(seed, 0)), flags: flags}}
	s.veteran = w.start("veteran", flags...)
	s.recruit(2)
	w.waitRunning(append(slices.Clone(s.replicas), s.veteran)...)
	return s
}

// publisher sends requests at a steady rate, whatever happens to the broker,
// until finishPublishing. A tenth are duplicates, some have a deadline, some
// are no valid request.
func (s *soak) publisher(rate int) {
	s.rate = rate
	s.client = s.world.client(kgo.MaxBufferedRecords(1<<20), kgo.AlwaysRetryEOF()) // a container's port closes connections while it is down
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		const ticks = 20 // a second
		tick := time.NewTicker(time.Second / ticks)
		defer tick.Stop()
		for n := 0; ; {
			select {
			case <-end:
				return
			case now := <-tick.C:
				for range rate / ticks {
					s.client.Produce(s.t.Context(), s.request(n, now), s.acknowledged)
					n++
				}
			}
		}
	})
	s.stopClient = func() { close(end); running.Wait() }
}

func (s *soak) request(n int, now time.Time) *kgo.Record {
	id, more := n, ""
	switch {
	case n%10 == 9:
		id = max(0, n-1-n%1000)
	case n%50 == 0:
		more = fmt.Sprintf(`,"scheduledAt":%q`, now.Add(30*time.Second).UTC().Format(time.RFC3339))
	case n%1000 == 1:
		more = `,"scheduledAt":"tomorrow"`
	}
	value := fmt.Appendf(nil, `{"umid":%q,"subAccountId":"acme_%d"%s}`, umid(id), id%5, more)
	return &kgo.Record{Topic: s.requests, Key: []byte(umid(id)), Value: value, Headers: traced()}
}

// acknowledged counts a request. One that was refused is sent once more, as
// any producer would; should both stand in the topic, both need an outcome.
func (s *soak) acknowledged(r *kgo.Record, err error) {
	if err == nil {
		s.published.Add(1)
		return
	}
	s.refused.Add(1)
	go s.client.Produce(s.t.Context(), &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: traced()}, s.acknowledged)
}

func (s *soak) finishPublishing() {
	s.t.Helper()
	s.stopClient()
	if err := s.client.Flush(within(s.t)); err != nil {
		s.t.Fatalf("publish: %v", err)
	}
	s.t.Logf("%d requests published, %d refusals", s.published.Load(), s.refused.Load())
}

// weather lets faults happen until the run is over.
func (s *soak) weather(length time.Duration, watched *sampler) {
	begin := time.Now()
	faults := time.NewTicker(max(length/180, 2*time.Second))
	defer faults.Stop()
	broker := time.NewTicker(max(length/8, 10*time.Second))
	defer broker.Stop()
	report := time.NewTicker(time.Minute)
	defer report.Stop()
	over := time.After(length)
	for time.Since(begin) < length {
		select {
		case <-over:
		case <-faults.C:
			s.fault()
		case <-broker.C:
			s.breakBroker()
		case <-report.C:
			u := watched.last()
			s.t.Logf("%s: %d published, %d calls, RSS %.1f MiB, heap %.1f MiB, %.0f goroutines, %.0f fds, %.0f sockets, %.0f entries, %v",
				time.Since(begin).Round(time.Second), s.published.Load(), s.sim.Summary().Calls, u.rss/mib, u.heap/mib,
				u.goroutines, u.fds, u.sockets, u.entries, s.did)
		}
	}
}

// fault ends a storm of the API if there is one, or does something else.
func (s *soak) fault() {
	switch {
	case len(s.sim.Faults().Rates) != len(s.calm.Rates):
		s.setFaults(s.calm)
	case s.dice.IntN(4) == 0:
		s.count("API storm")
		stormy := s.calm
		stormy.Rates = map[string]float64{"503": .3, "429": .005, "reset-before": .1, "reset-after": .05, "hang-after": .01, "500-after": .05}
		s.setFaults(stormy)
	default:
		s.step()
	}
}

func (s *soak) setFaults(f simulator.Faults) {
	s.t.Helper()
	if err := s.sim.SetFaults(f); err != nil {
		s.t.Fatal(err)
	}
}

// breakBroker takes the broker away for a moment.
func (s *soak) breakBroker() {
	switch s.dice.IntN(3) {
	case 0:
		s.count("broker kill")
		s.cluster.Kill(0)
		s.cluster.StartAgain(0)
	case 1:
		s.count("broker stop")
		s.cluster.Stop(0)
		s.cluster.StartAgain(0)
	case 2:
		s.count("broker pause")
		s.cluster.Pause(0)
		<-time.After(time.Duration(3+s.dice.IntN(10)) * time.Second) // around the session timeout of 6 s
		s.cluster.Unpause(0)
	}
}

func (s *soak) apiFaults() (n int64) {
	for _, count := range s.sim.Summary().Faults {
		n += count
	}
	return n
}

// judge holds the last quarter of the veteran's samples against the second.
func (s *soak) judge(length time.Duration, samples []sample, missed int) string {
	s.t.Helper()
	if len(samples) < 16 || missed > len(samples)/4 {
		s.t.Fatalf("%d samples, %d more missed: too few to judge", len(samples), missed)
	}
	var said []string
	for _, m := range measures(length) {
		g := growthOf(samples, m.of)
		line := fmt.Sprintf("%s %.1f → %.1f (%+.2f/h)", m.name, g.second/m.unit, g.last/m.unit, g.slope/m.unit)
		said = append(said, line)
		if g.leaks(m.part, m.slack) {
			s.t.Errorf("the veteran leaks: %s", line)
		}
	}
	return strings.Join(said, ", ")
}
