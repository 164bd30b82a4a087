package planted

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "smscancel/integration/schedule" // so that a change of product or campaign makes a new test of this one
)

var (
	every     = flag.Bool("every", false, "hunt every defect with fresh seeds, not a few chosen at random with the seeds that caught them before")
	keep      = flag.Bool("keep", false, "write the seed that catches a defect into its patch")
	choice    = flag.Uint64("choice", 0, "which few, as an earlier run chose them; 0 = a fresh choice")
	only      = flag.String("only", "", "hunt these defects, a regular expression")
	seed      = flag.Uint64("seed", 0, "the first of the fresh seeds; 0 = any")
	schedules = flag.Int("schedules", 500, "a defect that so many schedules do not show is not caught")
)

const (
	campaign = "./integration/schedule"
	few      = 4 // defects in every run of the tests
)

// Promise: every patch says what it breaks and which rule must notice, applies
// to the sources as they are, and compiles.
func TestEveryPlantedDefectAppliesAndCompiles(t *testing.T) {
	root, defects := load(t)
	if len(defects) < 15 {
		t.Errorf("there are only %d defects", len(defects))
	}
	compiler, err := NewCompiler(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range defects {
		if err := compiler.Check(d); err != nil {
			t.Error(err)
		}
	}
}

// Fault: a deliberate defect in the product. Promise: the random schedules find
// each of them by a rule that is about it, in a schedule that finds nothing in
// the product as it is.
func TestTheCampaignCatchesEveryPlantedDefect(t *testing.T) {
	root, defects := load(t)
	defects = choose(t, shownBy(defects, Embedded))
	first := cmp.Or(*seed, uint64(rand.Uint32()))
	t.Logf("-seed %d", first)
	dir := t.TempDir()
	sound, err := TestBinary(root, dir, campaign, nil)
	if err != nil {
		t.Fatal(err)
	}
	var found results
	t.Run("of", func(t *testing.T) { // returns when all are through
		for _, d := range defects {
			t.Run(d.Name, func(t *testing.T) {
				t.Parallel()
				binary, err := TestBinary(root, dir, campaign, d)
				if err != nil {
					t.Fatal(err)
				}
				h := &hunt{defect: d, with: binary, without: sound}
				h.run(t, first)
				found.add(h)
			})
		}
	})
	t.Logf("\n%s", &found)
}

func load(t *testing.T) (root string, defects []*Defect) {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	if defects, err = All(root); err != nil {
		t.Fatal(err)
	}
	return root, defects
}

func shownBy(defects []*Defect, where string) []*Defect {
	var shown []*Defect
	for _, d := range defects {
		if d.Shows == where {
			shown = append(shown, d)
		}
	}
	return shown
}

// choose takes a few of the defects, or all of them with -every.
func choose(t *testing.T, defects []*Defect) []*Defect {
	t.Helper()
	if *only != "" {
		name, err := regexp.Compile(*only)
		if err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(defects, func(d *Defect) bool { return !name.MatchString(d.Name) })
	}
	if *every {
		return defects
	}
	if *choice == 0 {
		*choice = rand.Uint64N(1_000_000) + 1
	}
	t.Logf("-choice %d", *choice)
	rand.New(rand.NewPCG(*choice, 0)).Shuffle(len(defects), func(i, j int) { defects[i], defects[j] = defects[j], defects[i] })
	return defects[:min(few, len(defects))]
}

// hunt runs schedules with a defect in the product until a rule is broken that
// the defect must break.
type hunt struct {
	defect        *Defect
	with, without string // the campaign's binaries

	schedules int
	broken    []string // every rule that was
	rule      string   // that shows the defect; empty = it was not caught
}

// run begins with the schedule that caught the defect before, which is quick, and
// goes on with fresh ones: a change of the generator makes another schedule of a seed.
func (h *hunt) run(t *testing.T, first uint64) {
	t.Helper()
	if h.defect.Seed > 0 && !*every {
		if h.schedule(t, h.defect.Seed, 1); h.rule != "" {
			return
		}
		t.Logf("%s: seed %d does not show it any more", h.defect.Name, h.defect.Seed)
	}
	for n := 0; n < *schedules; {
		at := h.schedule(t, first+uint64(n), *schedules-n)
		if h.rule != "" {
			t.Logf("%s: %q by seed %d, after %d schedules", h.defect.Name, h.rule, at, h.schedules)
			h.keep(t, at)
			return
		}
		n = int(at-first) + 1
	}
	t.Errorf("%d schedules broke %v, and none of %v: a gap in the checker or in the schedules", h.schedules, h.broken, h.defect.Rules)
}

// schedule plays schedules until one breaks a rule, and returns the last one's
// seed. What it breaks without the defect too does not count.
func (h *hunt) schedule(t *testing.T, from uint64, n int) uint64 {
	t.Helper()
	broken, ran := play(t, h.with, from, n)
	at := from + uint64(ran) - 1
	h.schedules += ran
	h.broken = append(h.broken, broken...)
	rule := h.defect.Caught(broken)
	if rule == "" {
		return at
	}
	if broken, _ := play(t, h.without, at, 1); len(broken) > 0 {
		t.Errorf("the product as it is breaks %v in schedule %d", broken, at)
		return at
	}
	h.rule = rule
	return at
}

func (h *hunt) keep(t *testing.T, seed uint64) {
	t.Helper()
	if !*keep {
		return
	}
	if err := h.defect.KeepSeed(seed); err != nil {
		t.Error(err)
	}
}

// play runs schedules from a seed on until one breaks a rule. That one is not
// waited for: it would look for the smallest schedule that does. A campaign that
// ends badly without a broken rule is itself at fault.
func play(t *testing.T, binary string, from uint64, n int) (broken []string, ran int) {
	t.Helper()
	cmd := exec.Command(binary, "-test.run=^TestEveryRequestHasOneOutcomeUnderRandomSchedules$", "-test.timeout=0", "-lines",
		fmt.Sprint("-seed=", from), fmt.Sprint("-schedules=", n))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()         //nolint:errcheck // it was killed, or has been waited for
	defer cmd.Process.Kill() //nolint:errcheck // it may have ended
	var said []string
	lines := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if broken = Broken(line); len(broken) > 0 {
			return broken, ran
		}
		if strings.Contains(line, begins) {
			ran, said = ran+1, nil
		}
		said = append(said, line)
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the campaign ended with %v in schedule %d and broke no rule:\n%s", err, ran, strings.Join(said, ""))
	}
	return nil, ran
}

// begins marks the line that the campaign writes before each schedule.
const begins = `"Begin":`

// results is the table for integration/README.md: by rule, which defects it has
// shown, and after how many schedules.
type results struct {
	mu     sync.Mutex
	byRule map[string][]string
}

func (r *results) add(h *hunt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byRule == nil {
		r.byRule = map[string][]string{}
	}
	rule := cmp.Or(h.rule, "not caught")
	r.byRule[rule] = append(r.byRule[rule], fmt.Sprintf("`%s` %d", h.defect.Name, h.schedules))
}

func (r *results) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var table strings.Builder
	fmt.Fprint(&table, "| rule | has shown, after so many schedules |\n|---|---|\n")
	for _, rule := range slices.Sorted(maps.Keys(r.byRule)) {
		slices.Sort(r.byRule[rule])
		fmt.Fprintf(&table, "| `%s` | %s |\n", rule, strings.Join(r.byRule[rule], ", "))
	}
	return table.String()
}
