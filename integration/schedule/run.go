package schedule

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/integration/checker"
)

// Result is what became of one schedule.
type Result struct {
	Seed    uint64
	Counts  checker.Counts
	Events  map[string]int `json:",omitempty"` // by name
	Virtual time.Duration
	CPU     time.Duration
	Failure string `json:",omitempty"` // what is wrong, and all that is known of it; empty = nothing
}

// Run plays a plan in a bubble of virtual time and checks what it left behind.
func Run(t *testing.T, p *Plan) *Result {
	t.Helper()
	r := &Result{Seed: p.Seed}
	defer watchMemory()()
	before := processorTime()
	synctest.Test(t, func(*testing.T) { r.play(p) })
	r.CPU = processorTime() - before
	return r
}

func (r *Result) play(p *Plan) {
	w, err := newWorld(p)
	if err != nil {
		r.Failure = err.Error()
		return
	}
	defer w.close()
	err = w.run()
	r.Virtual, r.Events = time.Since(w.born), w.tale.numbers()
	run, gatherErr := w.gather()
	if gatherErr != nil {
		r.Failure = fmt.Sprint(err, gatherErr)
		return
	}
	for i := range run.Calls {
		if fault := run.Calls[i].Fault; fault != "" {
			r.Events["API: "+fault]++
		}
	}
	report := checker.Check(run)
	r.Counts = report.Counts
	var failure strings.Builder
	if err != nil {
		fmt.Fprintln(&failure, err)
	}
	if !report.OK() {
		failure.WriteString(report.String())
	}
	if failure.Len() > 0 {
		r.Failure = failure.String() + w.tale.String()
	}
}

// mostMemory is far above what any schedule needs, and below what a machine has.
const mostMemory = 3 << 30

// watchMemory ends the process when its memory grows as only that of a worker does
// that goes on and on without a pause: then virtual time stands still for ever.
func watchMemory() (stop func()) {
	tick, done := time.NewTicker(time.Second), make(chan struct{})
	go func() {
		var memory runtime.MemStats
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if runtime.ReadMemStats(&memory); memory.HeapAlloc > mostMemory {
				debug.SetTraceback("all")
				panic("virtual time stands still: something goes on and on without a pause")
			}
		}
	}()
	return func() { tick.Stop(); close(done) }
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func sortedByTime(rs []Request) []Request {
	slices.SortStableFunc(rs, func(a, b Request) int { return cmp.Compare(a.At, b.At) })
	return rs
}

// published is a request as it stands in the log.
type published struct {
	checker.Record
	log int // of a topic that was created again: which one
}

// requests are the published records by place, those of an earlier log first.
func requests(all []published) []checker.Record {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b published) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.log, b.log), cmp.Compare(a.Offset, b.Offset))
	})
	sorted := make([]checker.Record, len(all))
	for i := range all {
		sorted[i] = all[i].Record
	}
	return sorted
}
