package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// tool is a run of a command other than the worker.
type tool struct {
	cmd    *exec.Cmd
	output bytes.Buffer // both streams
	took   time.Duration
	peak   float64 // of its memory, in MiB
}

// command prepares a command that talks to the test's brokers.
func (w *world) command(args ...string) *tool {
	w.t.Helper()
	path, err := plainBinary()
	if err != nil {
		w.t.Fatalf("build the program: %v", err)
	}
	c := &tool{cmd: exec.Command(path, append(args, "--brokers", strings.Join(w.brokers, ","))...)}
	c.cmd.Stdout, c.cmd.Stderr = &c.output, &c.output
	return c
}

// submit prepares a submission of a file to the test's topics.
func (w *world) submit(file string, args ...string) *tool {
	w.t.Helper()
	return w.command(append([]string{"submit", file, "--request-topic", w.requests, "--outcome-topic", w.outcomes,
		"--state-dir", filepath.Join(w.dir, "state")}, args...)...)
}

// run runs a command to its end and returns its exit code.
func (w *world) run(c *tool) int {
	w.t.Helper()
	begin := time.Now()
	if err := c.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	over := c.watch()
	err := c.cmd.Wait()
	over()
	c.took = time.Since(begin)
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		w.t.Fatalf("%s: %v", c.cmd, err)
	}
	if bytes.Contains(c.output.Bytes(), []byte(secret)) {
		w.t.Errorf("%s shows the API key", c.cmd)
	}
	return c.cmd.ProcessState.ExitCode()
}

// watch looks at the peak of a command's memory until it is over. What the
// system tells afterwards would be that of the test, if the test has more.
func (c *tool) watch() (over func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
			if _, text, found := strings.Cut(string(content), "VmHWM:"); found {
				var kib float64
				if _, err := fmt.Sscan(text, &kib); err == nil {
					c.peak = kib / 1024
				}
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() { close(stop); <-stopped }
}

// csvOf writes a CSV file of n messages, numbered from a number on.
func (w *world) csvOf(from, n int) string {
	w.t.Helper()
	path := filepath.Join(w.dir, fmt.Sprintf("campaign-%d.csv", from))
	var text bytes.Buffer
	text.WriteString("umid,subAccountId,campaignId,reason,metadata.order\n")
	for i := range n {
		fmt.Fprintf(&text, "%s,acme_shop,autumn-sale,order dropped,A-%d\n", umid(from+i), i)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// Promise: a file is submitted, and --wait ends when each of its 300 requests has
// its one outcome, with exit code 0.
func TestASubmittedFileIsWaitedFor(t *testing.T) {
	kafkatest.Require(t)
	const total = 300
	w := newWorld(t, kafkatest.Shared(t), 3, simulator.Options{})
	r := w.start("worker")
	c := w.submit(w.csvOf(0, total), "--wait")
	if code := w.run(c); code != 0 || !strings.Contains(c.output.String(), fmt.Sprintf("cancelled      %d\n", total)) {
		t.Errorf("exit code %d:\n%s", code, c.output.String())
	}
	r.stop()
	if found := w.audit(); found.calls != total {
		t.Errorf("%d calls for %d requests", found.calls, total)
	}
}

// Fault: SIGKILL after some batches were acknowledged. Promise: the same command
// goes on behind them. Every row is in the topic, in the partition of its key, and
// at most one batch (20,000 rows) is there twice; memory does not depend on the
// file. SMSCANCEL_ROWS is how many rows it has.
func TestAKilledSubmissionGoesOnBehindWhatWasAcknowledged(t *testing.T) {
	kafkatest.Require(t)
	total := number("SMSCANCEL_ROWS", 100_000)
	w := newWorld(t, kafkatest.Shared(t), 6, simulator.Options{})
	file := w.csvOf(0, total)
	killed := w.submit(file)
	if err := killed.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = killed.cmd.Wait(); close(ended) }()
	w.eventually("a batch in the journal", func() error {
		select {
		case <-ended:
			t.Fatalf("it ended before it could be killed:\n%s", killed.output.String())
		default:
		}
		journals, _ := filepath.Glob(filepath.Join(w.dir, "state", "*.journal"))
		for _, path := range journals {
			if content, _ := os.ReadFile(path); bytes.Count(content, []byte("\n")) >= 2 {
				return nil
			}
		}
		return errNotYet
	})
	_ = killed.cmd.Process.Kill()
	<-ended
	if killed.cmd.ProcessState.Exited() {
		t.Fatalf("it had ended before it could be killed:\n%s", killed.output.String())
	}
	again := w.submit(file)
	if code := w.run(again); code != 0 || !strings.Contains(again.output.String(), "going on after ") {
		t.Errorf("exit code %d:\n%s", code, again.output.String())
	}
	twice := w.checkSubmitted(total)
	if twice > 20_000 {
		t.Errorf("%d rows were sent twice, a batch has 20,000 at most", twice)
	}
	whole := w.submit(w.csvOf(total, total))
	if code := w.run(whole); code != 0 {
		t.Errorf("exit code %d:\n%s", code, whole.output.String())
	}
	if whole.peak > 256 {
		t.Errorf("%.0f MiB of memory", whole.peak)
	}
	result(t, fmt.Sprintf("ROWS=%d", total), "%d rows sent twice after a SIGKILL; another file of as many in %s, validation included (%.0f rows/s), %.0f MiB RSS at most",
		twice, whole.took.Round(time.Millisecond), float64(total)/whole.took.Seconds(), whole.peak)
}

// checkSubmitted finds each of the first messages in the request topic, and
// returns how many records more than that there are.
func (w *world) checkSubmitted(total int) (twice int) {
	w.t.Helper()
	seen := make(bitmap, total/64+1)
	found := 0
	all, murmur2 := []int{}, kafka.Murmur2Balancer{Consistent: true}
	for p := range w.parts {
		all = append(all, p)
	}
	w.scan(w.requests, nil, func(r *kgo.Record) {
		var request struct {
			UMID      string `json:"umid"`
			RequestID string `json:"requestId"`
		}
		var n int64
		if err := json.Unmarshal(r.Value, &request); err != nil || request.RequestID == "" {
			w.t.Fatalf("%s: %v", r.Value, err)
		}
		if _, err := fmt.Sscanf(request.UMID, "%08x-", &n); err != nil || string(r.Key) != request.UMID {
			w.t.Fatalf("key %s: %s: %v", r.Key, r.Value, err)
		}
		if p := murmur2.Balance(kafka.Message{Key: r.Key}, all...); int32(p) != r.Partition {
			w.t.Fatalf("%s is in partition %d, not in %d", r.Value, r.Partition, p)
		}
		if seen.set(n) {
			found++
		} else {
			twice++
		}
	})
	if found != total {
		w.t.Errorf("%d of %d rows are in the topic", found, total)
	}
	return twice
}
