package checker

import (
	"bytes"
	"fmt"
	"reflect"

	"smscancel/worker"
)

// history is what the ledger says of one message so far.
type history struct {
	request  int32 // the last one that has an outcome
	answer   int32 // the last outcome that answers duplicates
	notFound int32 // the last 404 after it, which answers those that wait
	called   int32 // the last request that was called
}

// checkMessages follows every message through the ledger: the order of its
// outcomes, duplicates, and calls that were not needed or came too early.
func (c *check) checkMessages() {
	histories := make([]history, len(c.targets))
	for t := range histories {
		histories[t] = history{none, none, none, none}
	}
	for i := range c.outcomes {
		o := &c.outcomes[i]
		if o.request == none || c.requests[o.request].target == none {
			continue
		}
		h := &histories[c.requests[o.request].target]
		c.checkOrder(h, int32(i), o)
		if o.status == worker.StatusDuplicate {
			c.checkDuplicate(h, int32(i), o)
		}
		c.checkNeeded(h, o)
		switch {
		case o.answers:
			h.answer, h.notFound = int32(i), none
		case o.notFound:
			h.notFound = int32(i)
		}
	}
	for i := range c.requests {
		if r := &c.requests[i]; r.call != none {
			h := &histories[r.target]
			if h.called != none {
				c.checkOverlap(h.called, int32(i))
			}
			h.called = int32(i)
		}
	}
}

// checkOrder: outcomes of a message stand in the order of its requests, but for
// one that is withdrawn: it need not wait for those before it.
func (c *check) checkOrder(h *history, i int32, o *outcome) {
	if h.request != none && o.request < h.request && !c.run.Setup.OffsetsSet {
		c.violated(OutOfOrder, o.request, "its outcome at %s stands behind that of %s, a later request for the same message",
			placeOf(&c.run.Outcomes[i]), placeOf(&c.run.Requests[h.request]))
	}
	if !o.withdrawn {
		h.request = max(h.request, o.request)
	}
}

// checkDuplicate: a duplicate is the copy of the newest outcome that answers it,
// within the window, and its owner made no call: what one before it did that left no
// outcome is no matter of a duplicate, whose answer admits it.
func (c *check) checkDuplicate(h *history, i int32, o *outcome) {
	r := &c.requests[o.request]
	switch decoded := c.decoded(i); {
	case r.force:
		c.violated(WrongDuplicate, o.request, "its outcome is a duplicate, and it is to be called whatever answers")
	case o.attempts != 0 || c.calledBy(o.request, o.session) || o.session == none && r.call != none:
		c.violated(WrongDuplicate, o.request, "its outcome is a duplicate after %d attempts, the API saw %d calls", o.attempts, r.calls)
	case h.notFound != none && decoded.DuplicateOf == c.idOf(h.notFound):
		if why := c.waited(o, h.notFound); why != "" {
			c.violated(WrongDuplicate, o.request, "its outcome is a duplicate of a 404, and %s", why)
			return
		}
		c.checkCopy(o, decoded, h.notFound)
	case h.answer == none || decoded.DuplicateOf != c.idOf(h.answer):
		c.violated(WrongDuplicate, o.request, "its outcome is a duplicate of %s, which is not the newest that answers: %s", decoded.DuplicateOf, c.answerIs(h.answer))
	case !c.within(c.lookedUp(o, h.answer), h.answer, late):
		c.violated(WrongDuplicate, o.request, "its outcome is a duplicate of one outside the dedupe window: %s", c.answerIs(h.answer))
	default:
		c.checkCopy(o, decoded, h.answer)
	}
}

func (c *check) decoded(i int32) *worker.Outcome {
	decoded, err := worker.DecodeOutcome(c.run.Outcomes[i].Value)
	if err != nil {
		return &worker.Outcome{}
	}
	return decoded
}

// idOf is the id that an outcome must have.
func (c *check) idOf(i int32) string {
	rec := &c.run.Requests[c.outcomes[i].request]
	return worker.OutcomeID(c.run.Setup.ClusterID, rec.Topic, rec.Partition, rec.Offset, rec.Timestamp)
}

func (c *check) answerIs(i int32) string {
	if i == none {
		return "there is none"
	}
	return fmt.Sprintf("%s at %s, of %s", c.idOf(i), placeOf(&c.run.Outcomes[i]), clock(c.run.Outcomes[i].Timestamp))
}

// waited says why a request cannot have waited for a 404 when that was settled,
// which is when its owner had the acknowledgement of its outcome; empty if it can.
func (c *check) waited(o *outcome, answer int32) string {
	a := &c.outcomes[answer]
	came := c.run.Requests[o.request].Timestamp.UnixMilli()
	if came > o.completed+tolerance { // its producer gave it a time to come
		came = 0
	}
	settled := max(a.completed, c.run.Outcomes[answer].Timestamp.UnixMilli(), c.acknowledged[a.request])
	switch {
	case a.session != o.session:
		return "its owner did not publish that one"
	case came > settled+tolerance && !c.run.Setup.ClocksDiffer:
		return "it came after that one"
	}
	return ""
}

// How much the dedupe window's edge may be off: it is exact to a 1/1024th, and
// outcomes are written some time after they were decided.
const (
	late  = +1
	early = -1
)

// within tells whether an outcome was in the dedupe window at a time, as seen
// late (in doubt yes) or early (in doubt no).
func (c *check) within(at int64, answer int32, leaning int64) bool {
	window := c.run.Setup.Window.Milliseconds()
	if window == 0 || c.run.Setup.ClocksDiffer {
		return leaning == late || window == 0
	}
	// An owner counts from when it decided the outcome, its heir from when that was written.
	since, decided := c.run.Outcomes[answer].Timestamp.UnixMilli(), c.outcomes[answer].completed
	if (decided < since) == (leaning == early) {
		since = decided
	}
	return at-since <= window+leaning*(window/512+tolerance)
}

// lookedUp is when a duplicate may have found its answer in the window: when its
// outcome was decided, or when the request came, where it may have waited for the
// answer of its own owner or where that had to be read back from the ledger; each
// takes as long as a broker lets it.
func (c *check) lookedUp(o *outcome, answer int32) int64 {
	if a := &c.outcomes[answer]; a.session != o.session && !a.ambiguous && (a.count == 0 || a.count == 1) {
		return o.completed
	}
	return min(o.completed, c.run.Requests[o.request].Timestamp.UnixMilli())
}

// checkCopy: cancelledCount or error, and ambiguous, are copied.
func (c *check) checkCopy(o *outcome, decoded *worker.Outcome, answer int32) {
	a := &c.outcomes[answer]
	same := o.count == a.count && o.ambiguous == a.ambiguous
	if same && (decoded.Error != nil || bytes.Contains(c.run.Outcomes[answer].Value, []byte(`"error"`))) {
		same = reflect.DeepEqual(decoded.Error, c.decoded(answer).Error)
	}
	if !same {
		c.violated(WrongDuplicate, o.request, "its outcome does not copy count, error and ambiguous of %s", c.answerIs(answer))
	}
}

// checkNeeded: no call for a request that its owner knew to be answered, by an
// outcome of an earlier request or by its own.
func (c *check) checkNeeded(h *history, o *outcome) {
	r := &c.requests[o.request]
	for i := r.call; i != none; i = c.calls[i].next {
		k := &c.calls[i]
		if k.session == none || k.near {
			continue
		}
		owner := c.sessions[k.session].order
		switch {
		case o.session != none && owner > c.sessions[o.session].order:
			c.violated(NeedlessCall, o.request, "it was called at %s, and its outcome stood in the ledger when that owner took the partition over", clock(c.seen(k).StartedAt))
		case k.session == o.session && c.started(k) > o.completed+tolerance && !c.run.Setup.ClocksDiffer:
			c.violated(NeedlessCall, o.request, "its owner called it at %s, after its outcome was written", clock(c.seen(k).StartedAt))
		case !r.force && h.answer != none && c.orderOf(h.answer) <= owner && c.within(c.started(k), h.answer, early):
			c.violated(NeedlessCall, o.request, "it was called at %s and was answered already: %s", clock(c.seen(k).StartedAt), c.answerIs(h.answer))
		default:
			continue
		}
		return
	}
}

// orderOf is the place of an outcome's owner among the owners; -1 if nobody
// knows it.
func (c *check) orderOf(i int32) int32 {
	if s := c.outcomes[i].session; s != none {
		return c.sessions[s].order
	}
	return -1
}

// checkOverlap: an owner calls for a request only when the outcome of the one
// before it for the same message is written, if it called for that one.
func (c *check) checkOverlap(earlier, later int32) {
	o := c.requests[earlier].outcome
	for i := c.requests[later].call; i != none; i = c.calls[i].next {
		k := &c.calls[i]
		if k.session == none || k.near || !c.calledBy(earlier, k.session) {
			continue
		}
		switch {
		case o == none || c.outcomes[o].session != k.session:
			c.violated(Overlap, later, "it was called at %s by the owner that had called for %s and has written no outcome of that",
				clock(c.seen(k).StartedAt), placeOf(&c.run.Requests[earlier]))
		case c.started(k) < c.outcomes[o].completed && !c.run.Setup.ClocksDiffer:
			c.violated(Overlap, later, "it was called at %s, before the outcome of %s was written at %s",
				clock(c.seen(k).StartedAt), placeOf(&c.run.Requests[earlier]), clockOf(c.outcomes[o].completed))
		default:
			continue
		}
		return
	}
}

func (c *check) calledBy(request, session int32) bool {
	for i := c.requests[request].call; i != none; i = c.calls[i].next {
		if c.calls[i].session == session {
			return true
		}
	}
	return false
}
