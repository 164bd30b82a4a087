package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// foreignMetadata are texts that may accompany an offset that an operator or a
// tool has set to 3, made from what the worker itself had committed for 10. ours
// tells whether it must be believed.
var foreignMetadata = []foreign{
	{name: "the worker's own", ours: true},
	{name: "none", text: func(string) string { return "" }},
	{name: "of Kafka's own tool", tool: true},
	{name: "no JSON", text: func(string) string { return "{offset: 3" }},
	{name: "4 KiB of text", text: func(string) string { return strings.Repeat("x", 4096) }},
	{name: "somebody's JSON", text: func(string) string { return `{"v":1,"tool":"offsets by hand"}` }},
	{name: "copied by MirrorMaker", text: func(own string) string { return own }}, // it translates the offset alone
	{name: "of another cluster", text: edit(`"offset":10`, `"offset":3`, `"cluster":"`, `"cluster":"x`)},
	{name: "of another outcome topic", text: edit(`"offset":10`, `"offset":3`, `"outcomes":"`, `"outcomes":"x`)},
	{name: "of another log", text: edit(`"offset":10`, `"offset":3`, `"hash":`, `"hash":1`)},
	{name: "of another ledger", text: edit(`"offset":10`, `"offset":3`, `"ledger":`, `"ledger":9999`)},
	{name: "of another offset", text: edit(`"offset":10`, `"offset":4`)},
	{name: "with a lease that cannot be", text: edit(`"offset":10`, `"offset":3`, `"lease":`, `"lease":-9`)},
}

type foreign struct {
	name string
	text func(own string) string // nil: no client sets the offset
	ours bool
	tool bool // Kafka's own sets it
}

// edit replaces the first of each pair by the second.
func edit(pairs ...string) func(string) string {
	return func(own string) string { return strings.NewReplacer(pairs...).Replace(own) }
}

// Fault: an operator sets offsets back, one partition with each kind of metadata
// that can come along. Promise: of 13 × 10 settled requests none is called again
// or gets a second outcome, those that are skipped are counted and said once for
// each partition, and the 13 × 5 that were waiting get theirs.
func TestMetadataThatIsNotOursCountsAsMissing(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	const settled, waiting, back = 10, 5, 3
	parts := len(foreignMetadata)
	w := newWorld(t, kafkatest.Shared(t), parts, simulator.Options{})
	var asked, more []string
	for p := range parts {
		asked = append(asked, w.umidsIn(p, 0, settled)...)
		more = append(more, w.umidsIn(p, 10_000, waiting)...)
	}
	w.produce(w.client(), w.requestsFor(asked...)...)
	r := w.start("first")
	w.waitForOutcomes(parts * settled)
	w.waitSettled(r)
	r.stop()
	w.produce(w.client(), w.requestsFor(more...)...)
	own, set := w.commits(), kadm.Offsets{}
	for p, kind := range foreignMetadata {
		if kind.text == nil {
			continue
		}
		text := kind.text(own[p].Metadata)
		if text == own[p].Metadata && kind.name != "copied by MirrorMaker" {
			t.Fatalf("%s: nothing to edit in %s", kind.name, text)
		}
		set.Add(kadm.Offset{Topic: w.requests, Partition: int32(p), At: back, LeaderEpoch: -1, Metadata: text})
	}
	w.eventually("the group to be empty", func() error { return w.admin().CommitAllOffsets(within(t), w.group, set) })
	w.resetOffset(slices.IndexFunc(foreignMetadata, func(k foreign) bool { return k.tool }), "--to-offset", strconv.Itoa(back))
	r = w.start("heir")
	w.waitForOutcomes(parts * (settled + waiting))
	w.waitSettled(r)
	if n := r.metric("smscancel_skipped_requests_total"); n != float64((parts-1)*(settled-back)) {
		t.Errorf("%v requests are counted as skipped, want %d", n, (parts-1)*(settled-back))
	}
	r.stop()
	takeovers := map[int]map[string]any{}
	for _, line := range r.lines() {
		if line["message"] != "partition taken over" {
			continue
		}
		p := int(line["partition"].(float64))
		if takeovers[p] != nil {
			t.Errorf("partition %d was taken over twice", p)
		}
		takeovers[p] = line
	}
	for p, kind := range foreignMetadata {
		skipped := settled - back
		if kind.ours {
			skipped = 0
		}
		if line := takeovers[p]; line["metadata"] != kind.ours || line["settledAhead"] != float64(skipped) {
			t.Errorf("metadata %s: %v, want %d settled ahead", kind.name, line, skipped)
		}
	}
	w.setup.OffsetsSet = true
	if found := w.audit(); found.calls != parts*(settled+waiting) || found.unclear != 0 {
		t.Errorf("%d calls for %d messages, %d ambiguous", found.calls, parts*(settled+waiting), found.unclear)
	}
}

// resetOffset sets a partition's offset with Kafka's own tool, as an operator would.
func (w *world) resetOffset(partition int, how ...string) {
	w.t.Helper()
	command := []string{"/opt/kafka/bin/kafka-consumer-groups.sh", "--bootstrap-server", "localhost:19092", "--group", w.group,
		"--topic", fmt.Sprintf("%s:%d", w.requests, partition), "--reset-offsets", "--execute"}
	out, err := w.cluster.Exec(0, append(command, how...)...)
	if err != nil {
		w.t.Fatalf("kafka-consumer-groups.sh: %v", err)
	}
	if !strings.Contains(out, "NEW-OFFSET") {
		w.t.Fatalf("kafka-consumer-groups.sh set nothing: %s", out)
	}
}
