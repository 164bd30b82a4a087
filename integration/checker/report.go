package checker

import (
	"fmt"
	"strings"

	"smscancel/worker"
)

// Report is what Check found.
type Report struct {
	Violations []Violation // the gravest rule first, then by place; of each rule the first hundred
	Total      map[Rule]int
	Counts     Counts
}

// Counts is how large the run was.
type Counts struct {
	Requests, Outcomes, Calls, Commits, Takeovers, Ambiguous int
	ByStatus                                                 map[worker.Status]int
}

// Violation is one rule broken in one place.
type Violation struct {
	Rule      Rule
	Topic     string // with Partition and Offset: the request that it is about
	Partition int
	Offset    int64  // -1 = it is about none
	What      string // one sentence
	Story     string // everything that is known of the request; of the first violations only

	request int32
}

// String names the request, the rule and what is wrong.
func (v *Violation) String() string {
	if v.Offset < 0 {
		return fmt.Sprintf("[%s] %s", v.Rule, v.What)
	}
	return fmt.Sprintf("[%s] request %s: %s", v.Rule, place{v.Topic, v.Partition, v.Offset}, v.What)
}

// OK tells whether the run broke no rule.
func (r *Report) OK() bool { return len(r.Violations) == 0 }

// maxListed is how many violations the text of a report lists.
const maxListed = 20

// String is the report for a person to read: the size of the run, the first
// violation with its story, and some of the others a line each.
func (r *Report) String() string {
	var b strings.Builder
	c := r.Counts
	fmt.Fprintf(&b, "%d requests, %d outcomes %v, %d ambiguous, %d calls, %d takeovers, %d commits: ",
		c.Requests, c.Outcomes, c.ByStatus, c.Ambiguous, c.Calls, c.Takeovers, c.Commits)
	if r.OK() {
		b.WriteString("no rule is broken\n")
		return b.String()
	}
	b.WriteString("rules broken:")
	for _, rule := range Rules() {
		if n := r.Total[rule]; n > 0 {
			fmt.Fprintf(&b, " %s %d times,", rule, n)
		}
	}
	b.WriteString(" the first:\n")
	for i := range r.Violations[:min(len(r.Violations), maxListed)] {
		v := &r.Violations[i]
		fmt.Fprintln(&b, v)
		if i == 0 {
			b.WriteString(v.Story)
		}
	}
	return b.String()
}
