package model

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"smscancel/integration/notrun"
)

// A run is one search through the states of the model.
type run struct {
	defines  []string // for spin: which configuration
	liveness bool     // also search for endless runs without an outcome
	whole    bool     // it will visit all states, which makes an optimised program worth its compilation
	forward  bool     // follow the order of the model; the reverse finds most defects sooner
}

// A verdict is what the search found.
type verdict struct {
	output    string
	complete  bool     // all states that can be reached were visited
	broken    string   // the promise that a run breaks; empty if none does
	unreached []string // statements of the model that no run reaches
}

const (
	once     = "one outcome"                    // guarantee 1
	ahead    = "no commit ahead of an outcome"  // 2
	needless = "no needless call"               // 3
	hidden   = "no call is concealed"           // 4
	invented = "no call is made up"             // 4
	late     = "no call contradicts an outcome" // 4
	settled  = "every request gets its outcome" // once faults have stopped
)

// promises are what the assertions of the model say, by a part of their text.
// The first that fits counts.
var promises = []struct{ text, promise string }{
	{">>3)&3)<", ahead},
	{"outcome[0].answers", needless},
	{"called[r]&", hidden},
	{".cap==0", invented},
	{"epoch==0)||outcome[r].sound", late},
	{"outcome[r].epoch==0", once},
	{"calm&&", settled},
}

const (
	memoryLimit = 4096 // MiB
	// depthLimit is more than the longest run; one that is longer makes the search incomplete.
	depthLimit = 20000
)

// check has spin write the searching program, compiles it, and runs it.
func check(t *testing.T, r run) verdict {
	t.Helper()
	need(t, "spin")
	need(t, "gcc") // spin runs it as its preprocessor, too
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, modelFile), read(t), 0o644); err != nil {
		t.Fatal(err)
	}
	must(t, dir, "spin", append(r.configuration(), modelFile)...)
	must(t, dir, "gcc", append(r.compilation(), "-o", "pan", "pan.c")...)
	search := []string{"-w24", "-m" + strconv.Itoa(depthLimit)}
	if r.liveness {
		search = append(search, "-a")
	}
	output, cpu := must(t, dir, "./pan", search...) // its exit code is 0 whatever it finds
	t.Logf("%s; CPU %.0f s", strings.Join(figures.FindAllString(output, -1), "; "), cpu.Seconds())
	return understand(t, output)
}

func (r run) configuration() []string {
	args := []string{"-a"}
	for _, d := range r.defines {
		args = append(args, "-D"+d)
	}
	if r.liveness {
		args = append(args, "-DLIVENESS")
	}
	return args
}

func (r run) compilation() []string {
	args := []string{"-w", "-DCOLLAPSE", "-DMEMLIM=" + strconv.Itoa(memoryLimit)}
	if !r.liveness {
		args = append(args, "-DSAFETY")
	}
	if r.whole {
		args = append(args, "-O1")
	}
	if !r.forward {
		args = append(args, "-DREVERSE")
	}
	return args
}

const modelFile = "ledger.pml"

// read reads the model itself, so that go test knows when a result is out of date.
func read(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(modelFile)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// understand reads what the searching program says.
func understand(t *testing.T, output string) verdict {
	t.Helper()
	v := verdict{output: output, complete: !incomplete.MatchString(output), broken: broken(output)}
	if m := errorCount.FindStringSubmatch(output); m == nil || (m[1] == "0") != (v.broken == "") {
		t.Fatalf("no count of errors, or one that this test does not understand:\n%s", output)
	}
	for _, m := range unreached.FindAllStringSubmatch(output, -1) {
		v.unreached = append(v.unreached, m[1])
	}
	return v
}

// broken names the promise that a run breaks.
func broken(output string) string {
	if strings.Contains(output, "acceptance cycle") {
		return settled
	}
	m := violated.FindStringSubmatch(output)
	if m == nil {
		return ""
	}
	for _, p := range promises {
		if strings.Contains(m[1], p.text) {
			return p.promise
		}
	}
	return m[1]
}

var (
	violated   = regexp.MustCompile(`pan:\d+: assertion violated (.*) \(at depth \d+\)`)
	errorCount = regexp.MustCompile(`errors: (\d+)`)
	figures    = regexp.MustCompile(`\d+ states, stored|[\d.]+\s+total actual memory usage`)
	unreached  = regexp.MustCompile(`ledger\.pml:\d+, state \d+, "(.*)"`)
	incomplete = regexp.MustCompile(`Search not completed|max search depth too small|truncated|out of memory|MEMLIM bound|hash-compaction|bitstate`)
)

// need ends the test where a tool is missing.
func need(t *testing.T, tool string) {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		notrun.Missing(t, tool, "no "+tool+" is installed")
	}
}

// must runs a tool in a directory and returns its output and the time that it took.
func must(t *testing.T, dir, tool string, args ...string) (string, time.Duration) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "LC_ALL=C")
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, output)
	}
	return string(output), cmd.ProcessState.UserTime()
}
