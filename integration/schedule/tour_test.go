package schedule

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var whole = flag.Bool("whole", false, "visit all ambushes, and all troubles of a sub-account, not a few")

// fewAmbushes are visited where no more are asked for: the race detector takes its time.
const fewAmbushes = 60

// Fault: the ambushes of the catalogue one after another (a crash before, in and
// after every step, every error and every silence at it), and every misbehaviour
// of the API. Promise: as for random schedules. What this test guards besides: that
// each of them really happens.
func TestEveryBoundaryAndEveryFaultIsMet(t *testing.T) {
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano() & 0xffffffff)
	}
	missing := catalogue()
	if !*whole {
		rand.New(rand.NewPCG(first, 0)).Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
		missing = missing[:fewAmbushes]
	}
	quiet := slices.Clone(apiFaultNames)
	for tours := uint64(0); len(missing)+len(quiet) > 0 && tours < 6; tours++ {
		plan := Tour(first+tours, missing)
		t.Logf("seed %d: %d ambushes, %s", plan.Seed, len(missing), plan.Length)
		r := Run(t, plan)
		if r.Failure != "" {
			t.Fatal(Explain(t, plan, r))
		}
		missing = slices.DeleteFunc(missing, func(e Event) bool { return r.Events[e.name()] > 0 })
		quiet = slices.DeleteFunc(quiet, func(name string) bool { return r.Events["API: "+name] > 0 })
	}
	for _, e := range missing {
		t.Errorf("no tour met: %s", &e)
	}
	for _, name := range quiet {
		t.Errorf("the API never did %s", name)
	}
}
