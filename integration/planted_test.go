package integration

import (
	"errors"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"smscancel/integration/kafkatest"
	"smscancel/integration/planted"
)

// Fault: a deliberate defect in the takeover, which the embedded broker hides: it
// refuses an older owner at once. Promise: takeovers under load on real Kafka
// find it, if not the first time; in a long run each of them, else one.
func TestTakeoversUnderLoadCatchEveryPlantedDefect(t *testing.T) {
	cluster := kafkatest.Shared(t)
	root, err := planted.Root()
	if err != nil {
		t.Fatal(err)
	}
	defects, err := planted.All(root)
	if err != nil {
		t.Fatal(err)
	}
	defects = slices.DeleteFunc(defects, func(d *planted.Defect) bool { return d.Shows != planted.Kafka })
	rand.Shuffle(len(defects), func(i, j int) { defects[i], defects[j] = defects[j], defects[i] })
	for _, d := range defects[:length(1, len(defects))] {
		t.Run(d.Name, func(t *testing.T) { catch(t, root, d, cluster) })
	}
}

// hunts is how often takeovers are tried until one of them shows a defect.
// Without the barrier it depends on some milliseconds.
const hunts = 12

func catch(t *testing.T, root string, d *planted.Defect, cluster *kafkatest.Cluster) {
	binary, err := planted.TestBinary(root, t.TempDir(), "./integration", d)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for n := range hunts {
		out, err = exec.Command(binary, "-test.run", "^TestEveryOutcomeStandsOnceAcrossTakeoversUnderLoad$", "-test.v",
			"-relay-brokers", strings.Join(cluster.Bootstrap(), ",")).CombinedOutput()
		var failed *exec.ExitError
		if rule := d.Caught(planted.Broken(string(out))); errors.As(err, &failed) && rule != "" {
			t.Logf("%s: %q in run %d", d.Name, rule, n+1)
			return
		}
	}
	t.Errorf("it ended with %v and broke none of %v: a gap in the test\n%s", err, d.Rules, out)
}
