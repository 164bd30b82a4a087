package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The three endurance tests (soak, full window, backlog) run small with all
// others, which shows that they work; `make soak` runs them at full size.

// patiently are flags for a worker of which a test wants to see exactly one
// call for each message, on a machine as slow as it may be.
var patiently = []string{"--attempt-timeout", "10m", "--session-timeout", "15s"}

// duration is a parameter of a long run.
func duration(t testing.TB, variable string, fallback time.Duration) time.Duration {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return fallback
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		t.Fatalf("%s is %q, want a duration like 1h", variable, text)
	}
	return d
}

// result notes what a long run has shown: a line of the table that `make
// soak` prints at its end.
func result(t testing.TB, run, format string, args ...any) {
	t.Helper()
	line := run + "\t" + fmt.Sprintf(format, args...)
	t.Log(strings.ReplaceAll(line, "\t", ": "))
	path := os.Getenv("SMSCANCEL_RESULTS")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := fmt.Fprintln(file, line); err != nil {
		t.Fatal(err)
	}
}

// advances waits until done says so, for as long as count grows: how long that
// takes is what a long run measures, but standing still is a failure.
func (w *world) advances(what string, count func() (n float64, done bool)) {
	w.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	best, since := -1.0, time.Now()
	for {
		n, done := count()
		if done {
			return
		}
		if n > best {
			best, since = n, time.Now()
		}
		if time.Since(since) > patience {
			w.t.Fatalf("%s stands still at %v for %s", what, n, patience)
		}
		<-tick.C
	}
}

// settled adds up the watermarks of the partitions that a replica runs.
func (r *replica) settled() (sum int64) {
	s, err := r.status()
	if err != nil {
		return 0
	}
	for _, p := range s.Partitions {
		if p.State == "running" {
			sum += p.Watermark
		}
	}
	return sum
}

// scan reads a topic from some offsets (missing ones are 0) to its present
// end, one record after another, so that it may be larger than memory.
func (w *world) scan(topic string, from map[int]int64, visit func(*kgo.Record)) {
	w.t.Helper()
	ctx := w.t.Context()
	starts := map[int32]kgo.Offset{}
	left := map[int32]int64{}
	for p, end := range w.ends(topic) {
		starts[int32(p)] = kgo.NewOffset().At(from[p])
		if end > from[p] {
			left[int32(p)] = end
		}
	}
	client := w.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}), kgo.KeepControlRecords())
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			w.t.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, wanted := left[r.Partition]
			if wanted && !r.Attrs.IsControl() {
				visit(r)
			}
			if r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		})
	}
}

// commitEnds makes the group begin at the present ends of the request topic.
func (w *world) commitEnds() {
	w.t.Helper()
	w.setup.OffsetsSet = true
	set := kadm.Offsets{}
	for p, end := range w.ends(w.requests) {
		set.Add(kadm.Offset{Topic: w.requests, Partition: int32(p), At: end, LeaderEpoch: -1})
	}
	if err := w.admin().CommitAllOffsets(within(w.t), w.group, set); err != nil {
		w.t.Fatalf("commit the ends of %s: %v", w.requests, err)
	}
}
