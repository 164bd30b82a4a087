package integration

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/checker"
	"smscancel/integration/history"
)

// collect gathers what a run has left behind: both topics, the group's commits,
// the simulator's calls, the logs and pages of all replicas.
func (w *world) collect() *checker.Run {
	w.t.Helper()
	requests := append(slices.Clone(w.deleted), readTopic(w.t, w.brokers, w.requests)...)
	run := &checker.Run{
		Requests: history.Records(requests), Outcomes: history.Records(readTopic(w.t, w.brokers, w.outcomes)),
		Calls: w.sim.Calls(), Setup: w.setup,
	}
	// Without a line for each attempt, those that never had a connection are not known.
	run.Setup.CallsLost = run.Setup.CallsLost || w.plain
	run.Setup.ClusterID, run.Setup.Group, run.Setup.OutcomeTopic, run.Setup.N = w.cluster.ID(), w.group, w.outcomes, w.n
	groups := map[string]bool{}
	for _, r := range w.replicas {
		text, err := os.ReadFile(r.log)
		if err != nil {
			w.t.Fatal(err)
		}
		run.Logs = append(run.Logs, checker.Log{Name: r.name, Text: text})
		run.Outputs = append(run.Outputs, r.outputs...)
		groups[r.group] = true
	}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		commits, err := history.Commits(within(w.t), group, kgo.SeedBrokers(w.brokers...))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, c := range commits {
			if c.Topic == w.requests {
				run.Commits = append(run.Commits, c)
			}
		}
	}
	return run
}

// note files a replica that is about to start, with what the checker must know
// of its flags.
func (w *world) note(r *replica, args []string) {
	w.replicas = append(w.replicas, r)
	r.group = flagOf(args, "--group", "")
	w.setup.SessionTimeout = max(w.setup.SessionTimeout, durationOf(w, args, "--session-timeout", 10*time.Second))
	w.setup.AttemptTimeout = max(w.setup.AttemptTimeout, durationOf(w, args, "--attempt-timeout", 10*time.Second))
	w.setup.Window = max(w.setup.Window, durationOf(w, args, "--dedupe-window", 24*time.Hour))
	w.setup.DefaultSubAccount = flagOf(args, "--default-sub-account", w.setup.DefaultSubAccount)
}

// flagOf is the value of a flag, the last one given.
func flagOf(args []string, flag, fallback string) string {
	for i, arg := range args {
		if arg == flag && i+1 < len(args) {
			fallback = args[i+1]
		}
	}
	return fallback
}

func durationOf(w *world, args []string, flag string, fallback time.Duration) time.Duration {
	w.t.Helper()
	d, err := time.ParseDuration(flagOf(args, flag, fallback.String()))
	if err != nil {
		w.t.Fatalf("%s: %v", flag, err)
	}
	return d
}

// keepOutputs keeps what a replica shows to others, for the checker to search.
func (r *replica) keepOutputs() {
	for _, page := range []string{"/metrics", "/api/status", "/readyz"} {
		if _, body, err := r.get(page); err == nil {
			r.outputs = append(r.outputs, checker.Output{Name: page + " of " + r.name, Text: []byte(body)})
		}
	}
}

// newTrace is a W3C traceparent of its own for a request, by which the checker
// finds its calls.
func newTrace() string {
	return fmt.Sprintf("00-%016x%016x-%016x-01", rand.Uint64(), rand.Uint64(), rand.Uint64()|1)
}

// traced are the headers of a request without others.
func traced() []kgo.RecordHeader {
	return []kgo.RecordHeader{{Key: "traceparent", Value: []byte(newTrace())}}
}
