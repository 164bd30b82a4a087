package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/kafkatest"
	"smscancel/integration/notrun"
	"smscancel/integration/simulator"
)

// exampleTools are the commands that show whether an example can be built.
var exampleTools = map[string][]string{
	"Go":     {"go version"},
	"Python": {"python3 -c 'import ensurepip, venv'"},
	"Java":   {"mvn --version", "javac --version"},
}

// Fault: between two mixes of outcomes of all statuses another worker takes over,
// so that transaction markers stand among them; a consumer is stopped by SIGTERM
// before the second mix; behind it stand an unknown status, unknown fields and what
// is no JSON. Promise, for the example in each language, built and run by the
// commands of its page: every outcome is handled once and as its status asks; exit
// code 0; after the restart it goes on where it committed.
func TestTheExamplesHandleEveryOutcomeOnce(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	for _, language := range slices.Sorted(maps.Keys(exampleTools)) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			command := buildExample(t, language)
			w := newWorld(t, kafkatest.Shared(t), 3, simulator.Options{Scenario: mixedScenario()})
			w.settleMix(0)
			first := w.handledBy(command, nil)
			w.settleMix(1)
			w.writeUnknown()
			second := w.handledBy(command, first)
			t.Logf("%d outcomes, then %d: %v", len(first), len(second)-len(first), countActions(second))
		})
	}
}

// buildExample runs all commands of a language on the examples' page but the last,
// which it returns.
func buildExample(t *testing.T, language string) (run string) {
	t.Helper()
	page, err := os.ReadFile("examples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## "+language+"\n")
	_, block, fenced := strings.Cut(section, "```sh\n")
	block, _, closed := strings.Cut(block, "\n```")
	if !found || !fenced || !closed {
		t.Fatalf("examples/README.md has no commands for %s", language)
	}
	for _, probe := range exampleTools[language] {
		if out, err := shell(probe).CombinedOutput(); err != nil {
			notrun.Missing(t, probe, lastLine(out, err))
		}
	}
	lines := strings.Split(block, "\n")
	last := len(lines) - 1
	for _, line := range lines[:last] { // also wants a package registry, or what it gave before
		if out, err := shell(line).CombinedOutput(); err != nil {
			notrun.Missing(t, line, lastLine(out, err))
		}
	}
	return lines[last]
}

// lastLine is the end of what a command said when it failed: the reason is one line.
func lastLine(out []byte, err error) string {
	out = bytes.TrimSpace(out)
	return fmt.Sprintf("%v: %s", err, out[bytes.LastIndexByte(out, '\n')+1:])
}

// shell runs a command at the top of the repository.
func shell(command string) *exec.Cmd {
	cmd := exec.Command("bash", "-c", command)
	cmd.Dir = ".."
	return cmd
}

// Of a hundred messages those with these numbers do not end as cancelled.
const (
	mixSent, mixUnknown, mixDoubtful, mixExpired, mixRejected, mixPlain = 1, 10, 20, 30, 40, 50
	mixTimes, mixCancelled, mixMessages                                 = 3, 30, 100
)

// mixedScenario holds both mixes.
func mixedScenario() *simulator.Scenario {
	rules := map[string]simulator.MessageRule{}
	for mix := range 2 {
		for i := range mixTimes {
			rules[umid(mix*mixMessages+mixSent+i)] = simulator.MessageRule{State: simulator.Sent}
			rules[umid(mix*mixMessages+mixUnknown+i)] = simulator.MessageRule{State: simulator.Unknown}
			rules[umid(mix*mixMessages+mixDoubtful+i)] = simulator.MessageRule{Answers: once(simulator.Answer{Truncated: true})}
		}
	}
	return &simulator.Scenario{Messages: rules}
}

// settleMix has a worker of its own write outcomes of all six statuses.
func (w *world) settleMix(mix int) {
	w.t.Helper()
	before := w.countOutcomes()
	r := w.start(fmt.Sprint("worker-", mix))
	var requests []map[string]any
	add := func(from, n int, field string, value any) {
		for i := range n {
			request := map[string]any{"umid": umid(mix*mixMessages + from + i), "subAccountId": "acme_shop", field: value}
			requests = append(requests, request)
		}
	}
	for _, from := range []int{mixSent, mixUnknown, mixDoubtful} {
		add(from, mixTimes, "reason", "order dropped")
	}
	add(mixExpired, mixTimes, "scheduledAt", "2020-01-01T00:00:00Z")
	add(mixRejected, mixTimes, "scheduledAt", "tomorrow")
	add(mixPlain, mixCancelled, "reason", "order dropped")
	w.publish(requests...)
	w.waitForOutcomes(before + len(requests))
	duplicates := requests[len(requests)-2*mixTimes:]
	w.publish(duplicates...)
	w.waitForOutcomes(before + len(requests) + len(duplicates))
	r.stop()
}

// writeUnknown writes what no worker of this version does, one behind the other:
// a status that is unknown, the same again, no JSON, and fields that are unknown.
func (w *world) writeUnknown() {
	w.t.Helper()
	postponed := `{"outcomeId":"11111111-0000-5000-8000-000000000001","requestId":"later-1","status":"postponed","until":{"days":2},"attempts":0}`
	cancelled := `{"outcomeId":"11111111-0000-5000-8000-000000000002","requestId":"later-2","status":"cancelled","region":["eu"],"error":{"kind":"later","hint":1}}`
	client := w.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for _, value := range []string{postponed, postponed, `no JSON`, cancelled} {
		w.produce(client, &kgo.Record{Topic: w.outcomes, Partition: 1, Value: []byte(value),
			Headers: []kgo.RecordHeader{{Key: "ce_type", Value: []byte("com.8x8.sms.cancel.outcome.v1")}, {Key: "ce_later", Value: []byte("1")}}})
	}
}

// handledOutcome is a line that an example prints.
type handledOutcome struct {
	OutcomeID, RequestID, Status, Action string
	Ambiguous                            bool
	Partition                            int
	Offset                               int64
}

// actions are what the examples do about a status.
var actions = map[string]string{"cancelled": "mark_cancelled", "not_cancelled": "mark_not_cancelled", "failed": "alert",
	"duplicate": "follow_original", "expired": "mark_too_late", "rejected": "fix_request"}

// standing are the outcomes of the topic as an example should handle them. It
// fails if the topic does not have what the examples are tested with.
func (w *world) standing() map[string]handledOutcome {
	w.t.Helper()
	all := map[string]handledOutcome{}
	records := readTopic(w.t, w.brokers, w.outcomes)
	for _, r := range records { // in the order of their offsets
		h := handledOutcome{Partition: int(r.Partition), Offset: r.Offset, Action: "review"}
		if json.Unmarshal(r.Value, &h) != nil {
			h.OutcomeID = fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset)
		}
		if _, again := all[h.OutcomeID]; again {
			continue
		}
		if action := actions[h.Status]; action != "" && !h.Ambiguous {
			h.Action = action
		}
		all[h.OutcomeID] = h
	}
	end := int64(0)
	for _, at := range w.ends(w.outcomes) {
		end += at
	}
	if counted := countActions(all); len(counted) != len(actions)+1 || end == int64(len(records)) {
		w.t.Fatalf("%d records up to offset %d, all partitions added up: %v", len(records), end, counted)
	}
	return all
}

func countActions(all map[string]handledOutcome) map[string]int {
	counts := map[string]int{}
	for _, h := range all {
		counts[h.Action]++
	}
	return counts
}

// handledBy runs an example until it has handled everything that it has not
// before, stops it, and returns all that is handled now.
func (w *world) handledBy(command string, before map[string]handledOutcome) map[string]handledOutcome {
	w.t.Helper()
	all := w.standing()
	e := w.runExample(command)
	w.eventually(fmt.Sprintf("%d lines of the example", len(all)-len(before)), func() error {
		if e.ended() {
			w.t.Fatalf("the example has ended: %v", e.exit)
		}
		if n := len(e.handled()); n < len(all)-len(before) {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
	e.stop()
	seen := map[string]bool{}
	for _, h := range e.handled() {
		if _, again := before[h.OutcomeID]; again || seen[h.OutcomeID] {
			w.t.Errorf("handled twice: %+v", h)
		}
		if h != all[h.OutcomeID] {
			w.t.Errorf("it handled %+v, the topic has %+v", h, all[h.OutcomeID])
		}
		seen[h.OutcomeID] = true
	}
	return all
}

// example is one running process of an example.
type example struct {
	t              testing.TB
	cmd            *exec.Cmd
	lines, trouble string // files: standard output, standard error
	done           chan struct{}
	exit           error // valid once done is closed
}

func (w *world) runExample(command string) *example {
	w.t.Helper()
	dir := w.t.TempDir()
	e := &example{t: w.t, cmd: shell("exec " + command), lines: filepath.Join(dir, "stdout"), trouble: filepath.Join(dir, "stderr"), done: make(chan struct{})}
	e.cmd.Env = append(os.Environ(), "KAFKA_BROKERS="+strings.Join(w.brokers, ","), "OUTCOME_TOPIC="+w.outcomes, "GROUP_ID="+w.group+"-example")
	stdout, err := os.Create(e.lines)
	if err != nil {
		w.t.Fatal(err)
	}
	defer stdout.Close()
	stderr, err := os.Create(e.trouble)
	if err != nil {
		w.t.Fatal(err)
	}
	defer stderr.Close()
	e.cmd.Stdout, e.cmd.Stderr = stdout, stderr
	if err := e.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		e.exit = e.cmd.Wait()
		close(e.done)
	}()
	w.t.Cleanup(e.end)
	return e
}

// end kills the process if it still runs, and shows what it said if the test failed.
func (e *example) end() {
	_ = e.cmd.Process.Kill()
	<-e.done
	if said, _ := os.ReadFile(e.trouble); e.t.Failed() {
		e.t.Logf("what the example said:\n%s", said)
	}
}

func (e *example) ended() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// stop asks the process to end, and expects it to do so in good order.
func (e *example) stop() {
	e.t.Helper()
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		e.t.Fatalf("SIGTERM to the example: %v", err)
	}
	select {
	case <-e.done:
	case <-time.After(patience):
		e.t.Fatal("the example does not end after SIGTERM")
	}
	if e.exit != nil {
		e.t.Errorf("the example ended after SIGTERM with %v", e.exit)
	}
}

// handled are the lines so far.
func (e *example) handled() []handledOutcome {
	e.t.Helper()
	content, err := os.ReadFile(e.lines)
	if err != nil {
		e.t.Fatal(err)
	}
	var all []handledOutcome
	whole := content[:bytes.LastIndexByte(content, '\n')+1]
	for line := range bytes.Lines(whole) {
		var h handledOutcome
		if err := json.Unmarshal(line, &h); err != nil {
			e.t.Fatalf("the example printed %q: %v", line, err)
		}
		all = append(all, h)
	}
	return all
}
