package checker

import (
	"fmt"

	"smscancel/worker"
)

// Check decides every rule for a run.
func Check(run *Run) *Report {
	c := &check{run: run, report: &Report{Total: map[Rule]int{}, Counts: Counts{ByStatus: map[worker.Status]int{}}}}
	c.oneOutcomeEach()
	return c.report
}

type check struct {
	run    *Run
	report *Report
}

type place struct {
	topic     string
	partition int
	offset    int64
}

func (p place) String() string { return fmt.Sprintf("%s/%d/%d", p.topic, p.partition, p.offset) }

func (c *check) violated(rule Rule, at place, format string, args ...any) {
	c.report.Total[rule]++
	c.report.Violations = append(c.report.Violations,
		Violation{Rule: rule, Topic: at.topic, Partition: at.partition, Offset: at.offset, What: fmt.Sprintf(format, args...)})
}

func (c *check) oneOutcomeEach() {
	c.report.Counts.Requests, c.report.Counts.Outcomes, c.report.Counts.Calls = len(c.run.Requests), len(c.run.Outcomes), len(c.run.Calls)
	seen := map[place]int{}
	for i := range c.run.Requests {
		r := &c.run.Requests[i]
		seen[place{r.Topic, r.Partition, r.Offset}] = 0
	}
	for i := range c.run.Outcomes {
		r := &c.run.Outcomes[i]
		o, err := worker.DecodeOutcome(r.Value)
		if err != nil {
			c.violated(Foreign, place{r.Topic, r.Partition, r.Offset}, "the record at %s/%d/%d is no outcome: %v", r.Topic, r.Partition, r.Offset, err)
			continue
		}
		c.report.Counts.ByStatus[o.Status]++
		if o.Ambiguous {
			c.report.Counts.Ambiguous++
		}
		at := place{o.Source.Topic, o.Source.Partition, o.Source.Offset}
		n, known := seen[at]
		switch {
		case !known:
			c.violated(Foreign, at, "the outcome at %d/%d is of no request", r.Partition, r.Offset)
		case n > 0:
			c.violated(Second, at, "the outcome at %d/%d is not the first of its request", r.Partition, r.Offset)
		}
		seen[at] = n + 1
	}
	for i := range c.run.Requests {
		r := &c.run.Requests[i]
		at := place{r.Topic, r.Partition, r.Offset}
		if seen[at] == 0 && r.Offset >= c.run.Setup.LostBelow[r.Topic][r.Partition] {
			c.violated(Lost, at, "request %s has no outcome", at)
		}
	}
}
