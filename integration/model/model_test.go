package model

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// longRun also checks the configurations that take minutes.
var longRun = os.Getenv("SMSCANCEL_LONG") == "1"

// Faults: zombies and rebalances at every step, and besides, as often as the
// configuration says, deaths, failures, drains and lost answers at any step.
// Promise: guarantees 1, 2, 3 and 4 of the protocol in every order of events,
// and an outcome for every request once faults stop. Count: every state that
// can be reached, and every statement of the model is reached.
func TestTheProtocolHolds(t *testing.T) {
	for _, c := range []struct {
		name string
		long bool
		run
	}{
		{"one fault", false, run{}},
		{"one fault early, then none", false, run{defines: []string{"GENERATIONS=2"}, liveness: true}},
		{"three faults early", true, run{defines: []string{"GENERATIONS=2", "FAULTS=3"}}},
		{"two faults", true, run{defines: []string{"FAULTS=2"}}},
		{"four takeovers", true, run{defines: []string{"TAKEOVERS=4"}}},
		{"two groups", true, run{defines: []string{"GROUPS=2"}}},
		{"one fault, then none", true, run{liveness: true}},
	} {
		if c.long && !longRun {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			c.whole = true
			v := check(t, c.run)
			if v.broken != "" || !v.complete {
				t.Fatalf("the protocol does not hold, or was not searched whole:\n%s", v.output)
			}
			if len(c.defines) == 0 {
				reachesAll(t, v)
			}
		})
	}
}

// reachesAll fails if a statement never runs: what is not reached is not checked.
func reachesAll(t *testing.T, v verdict) {
	t.Helper()
	dead := slices.DeleteFunc(v.unreached, func(statement string) bool { return statement == "-end-" })
	if len(dead) > 0 {
		t.Errorf("no run reaches %q", dead)
	}
}

// Fault: a part of the protocol is left out, one at a time. Promise: the model
// tells, by a run that breaks the guarantee for which the part is there. Count:
// 19 parts.
func TestRemovingAPartBreaksIt(t *testing.T) {
	noFault := []string{"FAULTS=0"} // but zombies and rebalances
	twoGroups := append(noFault, "GROUPS=2", "TAKEOVERS=3")
	for _, c := range []struct {
		defect, breaks string
		run
	}{
		{"NO_FENCE", once, run{defines: noFault}},
		{"NO_MARKER", once, run{defines: noFault}},
		{"NO_BARRIER", once, run{defines: noFault}},
		{"NO_REPLAY", once, run{defines: noFault}},
		{"NO_LEASE", hidden, run{defines: noFault}},
		{"NO_PERMIT", hidden, run{defines: noFault}},
		{"NO_GAP", hidden, run{defines: twoGroups}},
		{"NO_LEASE_CAP", invented, run{defines: twoGroups}},
		{"CAP_AT_TAKEOVER", hidden, run{defines: twoGroups}},
		{"TRIM_INHERITED", hidden, run{forward: true}},
		{"NO_CHECK", late, run{defines: noFault}},
		{"OVERTAKEN", needless, run{defines: noFault}},
		{"TAKE_EARLY", late, run{defines: noFault}},
		{"DRAIN_COMMITS", hidden, run{defines: noFault}},
		{"COMMIT_EARLY", ahead, run{defines: noFault}},
		{"NEW_SEQUENCE", once, run{forward: true}},
		{"NO_TURN", hidden, run{defines: noFault}},
		{"STAY", hidden, run{forward: true}},
		{"NO_NEWS", settled, run{defines: noFault}},
	} {
		t.Run(c.defect, func(t *testing.T) {
			c.defines = append([]string{"DEFECT=" + c.defect}, c.defines...)
			if v := check(t, c.run); v.broken != c.breaks {
				t.Errorf("breaks %q, want %q:\n%s", v.broken, c.breaks, v.output)
			}
		})
	}
}

// Fault: code is renamed, and the model goes on naming what is no more.
// Promise: every file that a comment of the model names is there.
func TestTheModelNamesFilesThatAreThere(t *testing.T) {
	named := regexp.MustCompile(`[\w/]+\.go\b`).FindAllString(string(read(t)), -1)
	if len(named) == 0 {
		t.Fatal("the model names no code")
	}
	for _, file := range named {
		if !slices.ContainsFunc([]string{"consumer", "producer", "worker"}, func(dir string) bool {
			_, err := os.Stat(filepath.Join("../..", dir, strings.TrimPrefix(file, dir+"/")))
			return err == nil
		}) {
			t.Errorf("the model names %s, which is not there", file)
		}
	}
}
