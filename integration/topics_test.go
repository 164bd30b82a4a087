package integration

import (
	"strings"
	"testing"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// Promise: topics that the command makes are as it wants them itself, a worker
// settles 20 requests with them without a word about settings, and an outcome
// topic that breaks the guarantees is exit code 1 with the reason.
func TestTopicsMadeByTheCommandSuitTheWorker(t *testing.T) {
	kafkatest.Require(t)
	w := newWorld(t, kafkatest.Shared(t), 2, simulator.Options{})
	broken := w.outcomes + ".broken"
	w.cluster.CreateTopic(broken, 1, map[string]string{"cleanup.policy": "compact"})
	w.requests, w.outcomes = w.requests+".made", w.outcomes+".made"
	topics := func(outcomes string) (int, string) {
		c := w.command("topics", "--request-topic", w.requests, "--outcome-topic", outcomes, "--partitions", "2", "--outcome-partitions", "2")
		return w.run(c), c.output.String()
	}
	if code, said := topics(w.outcomes); code != 0 || strings.Count(said, "created ") != 2 {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	if code, said := topics(w.outcomes); code != 0 || strings.Count(said, "is there ") != 2 || strings.Contains(said, "warning") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	if code, said := topics(broken); code != 1 || !strings.Contains(said, "cleanup.policy=compact: compaction deletes outcomes") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	r := w.start("worker")
	w.ask(0, 20)
	w.waitForOutcomes(20)
	r.stop()
	if n := r.logged("topic " + w.outcomes + " has"); n != 0 {
		t.Errorf("the worker has %d objections to the topics' settings", n)
	}
	w.audit()
}
