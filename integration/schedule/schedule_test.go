package schedule

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"testing"
	"time"

	"smscancel/integration/leaktest"
)

var (
	seed      = flag.Uint64("seed", 0, "the first seed; 0 = a fresh one")
	schedules = flag.Int("schedules", 8, "how many schedules to run")
	procs     = flag.Int("procs", 0, "how many processes to run them in (TestCampaign)")
	progress  = flag.String("progress", "", "file that keeps the progress (TestCampaign)")
	commit    = flag.String("commit", "unknown", "what is tested (TestCampaign)")
	aloud     = flag.Bool("aloud", false, "tell what happens at once, with the workers' logs")
	lines     = flag.Bool("lines", false, "write results for a campaign")
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// Fault: what a seed draws (crashes at every boundary, pauses, rebalances, errors
// and silences of broker and network, API faults). Promise: every rule of package
// checker, for every request, and an end once nothing goes wrong any more.
func TestEveryRequestHasOneOutcomeUnderRandomSchedules(t *testing.T) {
	first := *seed
	if first == 0 {
		first = uint64(time.Now().UnixNano() & 0xffffffff)
	}
	if *aloud {
		Aloud = os.Stderr
	}
	if *lines {
		for i := range uint64(*schedules) {
			Line{Begin: first + i}.Write(os.Stdout)
			plan := Draw(first + i)
			r := Run(t, plan)
			if r.Failure != "" {
				fmt.Println(r.Failure) // it may be lost if a smaller one panics
				r.Failure = Explain(t, plan, r)
			}
			Line{Result: r}.Write(os.Stdout)
		}
		return
	}
	t.Logf("seeds %d to %d", first, first+uint64(*schedules)-1)
	for i := range uint64(*schedules) {
		plan := Draw(first + i)
		if r := Run(t, plan); r.Failure != "" {
			t.Error(Explain(t, plan, r))
		}
	}
}

// TestCampaign runs -schedules schedules in -procs processes; see make faults.
// Without -procs it has nothing to do.
func TestCampaign(t *testing.T) {
	if *procs == 0 {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c := &Campaign{Schedules: *schedules, Processes: *procs, File: *progress, Commit: *commit, Out: os.Stdout,
		Program: []string{os.Args[0], "-test.run=^TestEveryRequestHasOneOutcomeUnderRandomSchedules$", "-test.timeout=0", "-lines"}}
	done, err := c.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(done)
	if len(done.Failures) > 0 {
		t.Errorf("%d schedules failed", len(done.Failures))
	}
}
