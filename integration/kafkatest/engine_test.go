package kafkatest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"smscancel/integration/notrun"
)

// TestNeedsKafka is what a suite looks like; the tests below run it in a
// process of its own that has no engine.
func TestNeedsKafka(t *testing.T) { Require(t) }

func TestWithoutAnEngineASuiteIsSkippedAndNoted(t *testing.T) {
	notes := filepath.Join(t.TempDir(), "not-run")
	output, err := runWithoutEngine(t, notrun.FileEnv+"="+notes, notrun.RequireEnv+"=")
	if err != nil || !strings.Contains(output, "--- SKIP: TestNeedsKafka") {
		t.Fatalf("want a visible skip; error %v, output:\n%s", err, output)
	}
	noted, err := os.ReadFile(notes)
	if err != nil {
		t.Fatal(err)
	}
	line := string(noted)
	if strings.Count(line, "\n") != 1 || !strings.Contains(line, "\tTestNeedsKafka\tno container engine: ") {
		t.Errorf("noted %q, want one line with the test and the reason", line)
	}
}

func TestWithoutAnEngineARequiredSuiteFails(t *testing.T) {
	output, err := runWithoutEngine(t, notrun.RequireEnv+"=1", notrun.FileEnv+"=")
	if err == nil || !strings.Contains(output, "--- FAIL: TestNeedsKafka") {
		t.Fatalf("want a failure; error %v, output:\n%s", err, output)
	}
	if !strings.Contains(output, notrun.RequireEnv) {
		t.Errorf("the failure does not say why it is one:\n%s", output)
	}
}

// runWithoutEngine names an engine that is not there. It does not matter that
// there may be another one at the default place: that one was not asked for.
func runWithoutEngine(t *testing.T, env ...string) (string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestNeedsKafka$", "-test.v")
	cmd.Env = append(os.Environ(), env...)
	cmd.Env = append(cmd.Env, "DOCKER_HOST=unix://"+filepath.Join(t.TempDir(), "none.sock"))
	output, err := cmd.CombinedOutput()
	return string(output), err
}
