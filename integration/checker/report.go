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
}

// OK tells whether the run broke no rule.
func (r *Report) OK() bool { return len(r.Violations) == 0 }

// String is the report for a person to read: the first violation with its
// story, then the others a line each.
func (r *Report) String() string {
	var b strings.Builder
	c := r.Counts
	fmt.Fprintf(&b, "%d requests, %d outcomes %v, %d ambiguous, %d calls, %d takeovers, %d commits: ",
		c.Requests, c.Outcomes, c.ByStatus, c.Ambiguous, c.Calls, c.Takeovers, c.Commits)
	if r.OK() {
		b.WriteString("no rule is broken\n")
		return b.String()
	}
	fmt.Fprintf(&b, "rules broken: %v\n", r.Total)
	for i, v := range r.Violations {
		fmt.Fprintf(&b, "%s: %s\n", v.Rule, v.What)
		if i == 0 {
			b.WriteString(v.Story)
		}
	}
	return b.String()
}
