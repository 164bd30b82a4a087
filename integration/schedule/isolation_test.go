package schedule

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/integration/checker"
	"smscancel/integration/simulator"
	"smscancel/worker"
	"smscancel/worker/status"
)

// The sub-account in trouble, the one that must not notice, and their partitions.
const (
	sick, well         = "acme_bank", "acme_shop"
	ofSick, ofWell, of = 0, 1, 2 // the last one is of both
	sickBacklog        = 600     // in each of its partitions: more than its half of the window
)

// quiet is a plan of one replica with a window of 1,000 in which nothing goes
// wrong yet.
func quiet() *Plan {
	return &Plan{Seed: 1, Length: 2 * time.Minute, Setting: Setting{
		Topics: 1, Partitions: 3, N: 2, Replicas: 1, Lag: time.Millisecond, AppendTime: true, SessionTimeout: 6 * time.Second,
		AttemptTimeout: 2 * time.Second, DrainTimeout: 25 * time.Second, DedupeWindow: time.Hour, Window: 1000, Concurrency: 64,
		RetryInitial: 500 * time.Millisecond, RetryMaxInterval: 2 * time.Second, RetryMaxElapsed: 10 * time.Minute, RetryAfterMax: time.Minute,
		AuthHold: 10 * time.Minute, API: simulator.Faults{Latency: simulator.Latency{Min: 50 * time.Millisecond, Max: 150 * time.Millisecond}},
	}, Events: []Event{{Kind: Start, Replica: 0}}}
}

// ask adds a request for a message of its own. Those of a plan are asked in the order of time.
func (p *Plan) ask(at time.Duration, topic, partition int, sub, campaign string) {
	n := len(p.Requests) + 1
	id := fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n)
	p.Requests = append(p.Requests, Request{At: at, Topic: topic, Partition: partition, Key: []byte(id),
		Value:   fmt.Appendf(nil, `{"umid":%q,"subAccountId":%q,"campaignId":%q}`, id, sub, campaign),
		Headers: [][2]string{{"traceparent", fmt.Sprintf("00-%032x-%016x-01", n, n)}}})
}

// neighbours are two sub-accounts. The sick one has a backlog from 5 s on in two
// partitions, the other asks for 25 messages a second from 8 s to 40 s.
func neighbours(backlog int) *Plan {
	p := quiet()
	for range backlog {
		p.ask(5*time.Second, 0, ofSick, sick, "")
		p.ask(5*time.Second, 0, of, sick, "")
	}
	for n := range 32 * 25 {
		p.ask(8*time.Second+time.Duration(n)*40*time.Millisecond, 0, ofWell, well, "")
		if backlog > 0 && n%25 == 0 {
			p.ask(8*time.Second+time.Duration(n)*40*time.Millisecond, 0, of, well, "")
		}
	}
	return p
}

// troubles are what holds the sick sub-account up, from 2 s to 45 s.
var troubles = map[string]func(w *world){
	"paused by the operator": func(w *world) {
		w.after(2*time.Second, func() { w.hold(&Event{Held: checker.Held{SubAccount: sick}, For: 43 * time.Second}) })
	},
	"429 with Retry-After": answering(simulator.Answer{Status: 429, RetryAfter: "3"}),
	"503":                  answering(simulator.Answer{Status: 503}),
	"bad key":              answering(simulator.Answer{Status: 401, Code: 1200}),
	"hangs":                answering(simulator.Answer{Hang: simulator.Before}),
}

func answering(a simulator.Answer) func(w *world) {
	return func(w *world) {
		declare := func(a simulator.Answer) func() {
			return func() {
				if err := w.sim.Declare(simulator.Scenario{SubAccounts: map[string]simulator.SubAccountRule{sick: {Answer: a}}}); err != nil {
					panic(err)
				}
			}
		}
		w.after(2*time.Second, declare(a))
		w.after(45*time.Second, declare(simulator.Answer{}))
	}
}

// Fault: one sub-account is paused, throttled, refused, or not answered, with a backlog beyond
// its half of the window in a partition of its own, and as much in one that it shares.
// Promise: in its own partition another sub-account keeps its rate and its p99,
// within a fifth; the sick one's partitions stop fetching and are named, with it, in status, metric
// and log; what stands behind it in the shared one waits; when it is well again all is
// settled, and nobody is named any more.
func TestASubAccountThatIsHeldUpStopsItsPartitionsAndNoOthers(t *testing.T) {
	alone := live(t, neighbours(0), func(*world) {}).latencies(ofWell)
	before := percentile(alone, 99)
	few := 2 // any, for the race detector takes its time
	for name, trouble := range troubles {
		if few--; few < 0 && !*whole {
			break
		}
		t.Run(name, func(t *testing.T) {
			var held, later status.Status
			var metrics string
			run := live(t, neighbours(sickBacklog), func(w *world) {
				trouble(w)
				w.after(39*time.Second, func() {
					r := w.everyReplica()[0]
					held, metrics = r.process.Status(), string(r.pages())
				})
				w.after(110*time.Second, func() { later = w.everyReplica()[0].process.Status() })
			})
			took := run.latencies(ofWell)
			if p99 := percentile(took, 99); p99 > before*12/10 || len(took) != len(alone) {
				t.Errorf("p99 of %d requests of the other is %s, and was %s of %d", len(took), p99, before, len(alone))
			} else {
				t.Logf("p99 %s, was %s; the sick one had %d in hand", p99, before, held.Partitions[ofSick].InHand+held.Partitions[of].InHand)
			}
			if shared := run.latencies(of); percentile(shared, 0) < 5*time.Second {
				t.Error("what stands behind the sick one's requests did not wait, so nothing was held up")
			}
			checkNamed(t, held, metrics, run.Logs[0].Text)
			for _, p := range later.Partitions {
				if p.FetchStopped != "" {
					t.Errorf("when all is well: %+v", p)
				}
			}
			if n := strings.Count(string(run.Logs[0].Text), "partition fetches again"); n != 2 {
				t.Errorf("%d partitions fetch again, by the log", n)
			}
		})
	}
}

// Fault: one sub-account has a backlog of one and a half times the window in its bulk lane, which is
// worked off at the limit, or paused. Promise: its urgent lane, where 20 messages a
// second are asked for, keeps its rate and its p99, within a fifth and a round trip.
func TestABacklogOfOneLaneDoesNotSlowAnother(t *testing.T) {
	const urgent, bulk = 0, 1
	plan := func(backlog int, held ...Event) *Plan {
		p := quiet()
		p.Setting.Topics, p.Setting.Partitions, p.Setting.RateLimit = 2, 2, 100
		for n := range backlog {
			p.ask(5*time.Second, bulk, n%2, well, "bulk")
		}
		for n := range 32 * 20 {
			p.ask(8*time.Second+time.Duration(n)*50*time.Millisecond, urgent, ofWell, well, "")
		}
		p.Events = append(p.Events, held...)
		return p
	}
	urgentOnes := func(p *Plan) []time.Duration {
		run := live(t, p, func(*world) {})
		run.Outcomes = slices.DeleteFunc(run.Outcomes, func(r checker.Record) bool { return bytes.Contains(r.Value, []byte(`"campaignId":"bulk"`)) })
		return run.latencies(ofWell)
	}
	alone := urgentOnes(plan(0))
	before := percentile(alone, 99)
	for name, p := range map[string]*Plan{
		"at the limit": plan(1500),
		"paused":       plan(1500, Event{At: 2 * time.Second, Kind: Hold, Held: checker.Held{Campaign: "bulk"}, For: 43 * time.Second}),
	} {
		took := urgentOnes(p)
		if p99 := percentile(took, 99); p99 > before*12/10+150*time.Millisecond || len(took) != len(alone) {
			t.Errorf("%s: p99 of %d urgent requests is %s, and was %s of %d", name, len(took), p99, before, len(alone))
		} else {
			t.Logf("%s: p99 %s, was %s", name, p99, before)
		}
	}
}

// checkNamed: the partitions of the sick sub-account are named with it, and no other.
func checkNamed(t *testing.T, s status.Status, metrics string, log []byte) {
	t.Helper()
	inHand := 0
	for _, p := range s.Partitions {
		if p.Partition == ofWell {
			if p.FetchStopped != "" {
				t.Errorf("the other's partition: %+v", p)
			}
			continue
		}
		inHand += p.InHand
		if p.FetchStoppedBy != sick || !strings.Contains(p.FetchStopped, sick) {
			t.Errorf("partition %d: %q by %q", p.Partition, p.FetchStopped, p.FetchStoppedBy)
		}
		if want := fmt.Sprintf(`smscancel_fetch_stopped{partition="%d",sub_account="%s",topic="%s"} 1`, p.Partition, sick, p.Topic); !strings.Contains(metrics, want) {
			t.Errorf("no metric %s", want)
		}
	}
	if inHand > 500+2 || inHand < 400 || !s.Ready {
		t.Errorf("%d of the sick one in hand with a window of 1,000; ready: %v", inHand, s.Ready)
	}
	i := slices.IndexFunc(s.SubAccounts, func(sub status.SubAccount) bool { return sub.SubAccountID == sick })
	if want := []string{"requests.urgent/0", "requests.urgent/2"}; i < 0 || !slices.Equal(s.SubAccounts[i].FetchStopped, want) {
		t.Errorf("sub-accounts %+v, want %s named with %v", s.SubAccounts, sick, want)
	}
	said := 0
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "partition fetches nothing more") {
			said++
			if !strings.Contains(line, `"subAccountId":"`+sick+`"`) {
				t.Errorf("the log says %s", line)
			}
		}
	}
	if said != 2 {
		t.Errorf("%d partitions fetch nothing more, by the log", said)
	}
}

// lived is what a run left behind.
type lived struct{ *checker.Run }

// live plays a plan, and checks every promise for every request.
func live(t *testing.T, p *Plan, prepare func(w *world)) lived {
	t.Helper()
	var run *checker.Run
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(p)
		if err != nil {
			t.Fatal(err)
		}
		defer w.close()
		prepare(w)
		if err := w.run(); err != nil {
			t.Error(err)
		}
		if run, err = w.gather(); err != nil {
			t.Fatal(err)
		}
		if report := checker.Check(run); !report.OK() {
			t.Error(report)
		}
	})
	return lived{run}
}

// latencies are how long the other's requests of a partition took, from the
// timestamp of each to its outcome.
func (l lived) latencies(partition int) (took []time.Duration) {
	for _, r := range l.Outcomes {
		o, err := worker.DecodeOutcome(r.Value)
		if err != nil || o.SubAccountID != well || o.Source.Partition != partition {
			continue
		}
		asked, _ := time.Parse(time.RFC3339Nano, o.Source.Timestamp)
		done, _ := time.Parse(time.RFC3339Nano, o.CompletedAt)
		took = append(took, done.Sub(asked))
	}
	slices.SortFunc(took, func(a, b time.Duration) int { return cmp.Compare(a, b) })
	return took
}

func percentile(sorted []time.Duration, p int) time.Duration { return sorted[len(sorted)*p/100] }
