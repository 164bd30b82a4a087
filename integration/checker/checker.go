package checker

import (
	"cmp"
	"fmt"
	"slices"

	"smscancel/integration/simulator"
	"smscancel/worker"
)

// Check decides every rule for a run. It takes time and memory in proportion to
// the run's size.
func Check(run *Run) *Report {
	c := &check{book: newBook(run), report: &Report{Total: map[Rule]int{}, Counts: Counts{ByStatus: map[worker.Status]int{}}}}
	c.read()
	c.checkLost()
	c.checkWriters()
	c.checkCalls()
	c.checkDeadlines()
	c.checkHeld()
	c.checkRefused()
	c.checkHonesty()
	c.checkMessages()
	c.checkLeases()
	c.checkCommits()
	c.checkSecrets()
	c.finish()
	return c.report
}

// check is one run being judged.
type check struct {
	*book
	report *Report

	refusals map[string]*simulator.Call // by errorId, see refusal
}

// read fills the book. Each step needs those before it.
func (c *check) read() {
	c.readRequests()
	c.readLogs()
	c.readOutcomes()
	c.readCalls()
	c.readCommits()
}

const (
	maxPerRule = 100 // violations that a report lists
	maxStories = 10
)

// violated notes that a request broke a rule; none = no request did.
func (c *check) violated(rule Rule, request int32, format string, args ...any) {
	c.report.Total[rule]++
	if c.report.Total[rule] > maxPerRule {
		return
	}
	v := Violation{Rule: rule, Offset: -1, What: fmt.Sprintf(format, args...), request: request}
	if request != none {
		rec := &c.run.Requests[request]
		v.Topic, v.Partition, v.Offset = rec.Topic, rec.Partition, rec.Offset
	}
	c.report.Violations = append(c.report.Violations, v)
}

// finish orders the report and tells the stories of its first violations.
func (c *check) finish() {
	n := &c.report.Counts
	n.Requests, n.Outcomes, n.Calls, n.Commits = len(c.run.Requests), len(c.run.Outcomes), len(c.run.Calls), len(c.run.Commits)
	for i := range c.sessions {
		if c.sessions[i].known {
			n.Takeovers++
		}
	}
	slices.SortStableFunc(c.report.Violations, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(severity[a.Rule], severity[b.Rule]), cmp.Compare(a.Topic, b.Topic),
			cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	for i := range c.report.Violations[:min(len(c.report.Violations), maxStories)] {
		v := &c.report.Violations[i]
		if v.request != none {
			v.Story = c.story(v.request)
		}
	}
}
