package schedule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"smscancel/integration/checker"
	"smscancel/worker"
)

// maxFailures ends a campaign: so many have one cause.
const maxFailures = 20

// Progress is what a campaign has done so far.
type Progress struct {
	Commit   string
	Began    time.Time
	First    uint64   // seeds are First, First + 1, …
	Done     []uint64 // in the order in which they ended
	Failures []Failure
	Counts   checker.Counts
	Events   map[string]int
	Virtual  time.Duration
	CPU      time.Duration // of the schedules that are done
}

// Failure is a schedule that broke a rule, or did not end.
type Failure struct {
	Seed uint64
	What string
}

// loadProgress reads the progress of the same commit, or begins anew.
func loadProgress(file, commit string) (*Progress, error) {
	p := &Progress{Commit: commit, Began: time.Now(), First: uint64(rand.Uint32()) + 1, Events: map[string]int{},
		Counts: checker.Counts{ByStatus: map[worker.Status]int{}}}
	text, err := os.ReadFile(file)
	if file == "" || errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	kept := &Progress{}
	if err == nil {
		err = json.Unmarshal(text, kept)
	}
	if err != nil {
		return nil, fmt.Errorf("read the progress: %w", err)
	}
	if kept.Commit != commit {
		return p, nil
	}
	return kept, nil
}

func (p *Progress) save(file string) error {
	if file == "" {
		return nil
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", text, 0o644); err != nil {
		return fmt.Errorf("keep the progress: %w", err)
	}
	return os.Rename(file+".new", file)
}

func (p *Progress) done() int { return len(p.Done) }

// left is what is missing of so many schedules.
func (p *Progress) left(schedules int) []span {
	done := map[uint64]bool{}
	for _, seed := range p.Done {
		done[seed] = true
	}
	var left []span
	for i := range uint64(schedules) {
		seed := p.First + i
		last := len(left) - 1
		switch {
		case done[seed]:
		case last >= 0 && left[last].first+uint64(left[last].n) == seed && left[last].n < spanLength:
			left[last].n++
		default:
			left = append(left, span{seed, 1})
		}
	}
	return left
}

func (p *Progress) add(r *Result) {
	p.Done = append(p.Done, r.Seed)
	if r.Failure != "" {
		p.Failures = append(p.Failures, Failure{Seed: r.Seed, What: r.Failure})
	}
	c := &p.Counts
	c.Requests += r.Counts.Requests
	c.Outcomes += r.Counts.Outcomes
	c.Calls += r.Counts.Calls
	c.Commits += r.Counts.Commits
	c.Takeovers += r.Counts.Takeovers
	c.Ambiguous += r.Counts.Ambiguous
	for status, n := range r.Counts.ByStatus {
		c.ByStatus[status] += n
	}
	for name, n := range r.Events {
		p.Events[name] += n
	}
	p.Virtual += r.Virtual
	p.CPU += r.CPU
}

// String is the summary of a campaign, in Markdown.
func (p *Progress) String() string {
	var b strings.Builder
	c := p.Counts
	fmt.Fprintf(&b, "%d schedules (seeds %d to %d) of commit %s, %s\n\n", p.done(), p.First, slices.Max(append([]uint64{p.First}, p.Done...)),
		p.Commit, p.Began.Format(time.DateOnly))
	fmt.Fprintf(&b, "| | |\n|---|---|\n")
	row := func(name string, value any) { fmt.Fprintf(&b, "| %s | %v |\n", name, value) }
	row("failures", len(p.Failures))
	row("requests", c.Requests)
	row("outcomes", c.Outcomes)
	for _, status := range slices.Sorted(maps.Keys(c.ByStatus)) {
		row("of them "+string(status), c.ByStatus[status])
	}
	row("ambiguous", c.Ambiguous)
	row("calls", c.Calls)
	row("takeovers", c.Takeovers)
	row("commits", c.Commits)
	row("virtual time", p.Virtual.Round(time.Minute))
	row("processor time", p.CPU.Round(time.Second))
	fmt.Fprintf(&b, "\n| what went wrong | times |\n|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(p.Events)) {
		row(name, p.Events[name])
	}
	return b.String()
}
