package checker

import (
	"net/http"

	"smscancel/worker"
)

// outcome is one record of the outcome topic.
type outcome struct {
	request   int32 // none = of no request
	session   int32 // none = not written by an idempotent producer
	again     int32 // the next outcome of the same request
	status    worker.Status
	answers   bool // later duplicates
	notFound  bool // answers those that wait
	withdrawn bool // by the operator
	ambiguous bool
	attempts  int32
	count     int32 // -1 = none
	completed int64 // Unix milliseconds
}

// readOutcomes indexes the outcomes and checks the form of each.
func (c *check) readOutcomes() {
	for i := range c.run.Outcomes {
		c.readOutcome(int32(i))
	}
	for p := range c.parts {
		c.orderSessions(&c.parts[p])
	}
}

func (c *check) readOutcome(i int32) {
	rec := &c.run.Outcomes[i]
	o := &c.outcomes[i]
	*o = outcome{request: none, session: none, again: none, count: -1}
	decoded, err := worker.DecodeOutcome(rec.Value)
	if err != nil {
		c.violated(Foreign, none, "the record at %s is no outcome: %v", placeOf(rec), err)
		return
	}
	o.status, o.ambiguous, o.attempts = decoded.Status, decoded.Ambiguous, int32(decoded.Attempts)
	o.answers, o.completed = answersLater(decoded), millis(decoded.CompletedAt)
	o.notFound = decoded.Status == worker.StatusFailed && decoded.Error != nil && decoded.Error.Kind == worker.KindNotFound
	o.withdrawn = decoded.Status == worker.StatusFailed && decoded.Error != nil && decoded.Error.Kind == worker.KindWithdrawn
	if decoded.CancelledCount != nil {
		o.count = int32(*decoded.CancelledCount)
	}
	c.report.Counts.ByStatus[o.status]++
	if o.ambiguous {
		c.report.Counts.Ambiguous++
	}
	at := place{decoded.Source.Topic, decoded.Source.Partition, decoded.Source.Offset}
	o.request = c.requestAt(at, decoded.Source.Timestamp)
	if o.request == none {
		c.violated(Foreign, none, "the outcome at %s is of %s, where no request stands", placeOf(rec), at)
		return
	}
	o.session = c.writerOf(rec, o)
	if c.link(i) {
		c.checkForm(rec, decoded, o)
	}
}

// answersLater tells whether an outcome answers duplicates that come later: the
// spec's table, and not the product's opinion, which is judged here.
func answersLater(o *worker.Outcome) bool {
	switch o.Status {
	case worker.StatusCancelled, worker.StatusNotCancelled:
		return true
	case worker.StatusFailed:
		return o.Error != nil && o.Error.Kind == worker.KindInvalidRequest && o.Error.HTTPStatus == http.StatusBadRequest
	}
	return false
}

// link files an outcome with its request; false if it is not the first one.
func (c *check) link(i int32) bool {
	o := &c.outcomes[i]
	r := &c.requests[o.request]
	if r.outcome == none {
		r.outcome = i
		return true
	}
	last := r.outcome
	for c.outcomes[last].again != none {
		last = c.outcomes[last].again
	}
	c.outcomes[last].again = i
	c.violated(Second, o.request, "it has an outcome at %s and another one at %s", placeOf(&c.run.Outcomes[r.outcome]), placeOf(&c.run.Outcomes[i]))
	return false
}

// writerOf is the owner that wrote an outcome.
func (c *check) writerOf(rec *Record, o *outcome) int32 {
	if rec.ProducerID < 0 {
		if len(c.run.Logs) > 0 {
			c.violated(Unowned, o.request, "its outcome at %s was not written by a fenced producer", placeOf(rec))
		}
		return none
	}
	f := fence{c.requests[o.request].part, rec.ProducerID, rec.ProducerEpoch}
	if i, ok := c.byFence[f]; ok {
		return i
	}
	if len(c.run.Logs) > 0 {
		c.violated(Unowned, o.request, "its outcome at %s was written by producer %d, epoch %d, and no process has taken the partition over under that",
			placeOf(rec), f.pid, f.epoch)
	}
	i := int32(len(c.sessions))
	c.sessions = append(c.sessions, session{fence: f, process: none, fenced: rec.Timestamp.UnixMilli(), next: none})
	c.parts[f.part].sessions = append(c.parts[f.part].sessions, i)
	c.byFence[f] = i
	return i
}

// checkLost finds requests without an outcome.
func (c *check) checkLost() {
	for i := range c.requests {
		rec := &c.run.Requests[i]
		if c.requests[i].outcome == none && rec.Offset >= c.run.Setup.LostBelow[rec.Topic][rec.Partition] {
			c.violated(Lost, int32(i), "it has no outcome")
		}
	}
}

// checkWriters finds outcomes that stand behind one of a later owner.
func (c *check) checkWriters() {
	newest := make([]int32, len(c.parts))
	for p := range newest {
		newest[p] = none
	}
	for i := range c.outcomes {
		o := &c.outcomes[i]
		if o.session == none {
			continue
		}
		s := &c.sessions[o.session]
		if last := newest[s.part]; last != none && s.order < c.sessions[last].order {
			c.violated(StaleWriter, o.request, "its outcome at %s is by epoch %d of producer %d, behind one by epoch %d of producer %d, which had fenced it",
				placeOf(&c.run.Outcomes[i]), s.epoch, s.pid, c.sessions[last].epoch, c.sessions[last].pid)
			continue
		}
		newest[s.part] = o.session
	}
}
