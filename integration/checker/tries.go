package checker

import (
	"net/http"
	"strings"

	"smscancel/integration/simulator"
	"smscancel/worker"
)

// try is one call of an owner for a record: as the simulator saw it, as its
// process logged it, or both.
type try struct {
	call, attempt int32 // none = it did not
}

// tries are those of the owner that published an outcome, in their order.
type tries struct {
	all    []try
	near   int  // calls that may be of that owner or of the one before
	exact  bool // who called is known
	logged bool // the attempts are known from the log
}

// triesOf collects the tries behind the outcome of a request.
func (c *check) triesOf(r *request, o *outcome) tries {
	if o.session == none || !c.sessions[o.session].known {
		return c.triesWithoutLog(r)
	}
	s := &c.sessions[o.session]
	t := tries{exact: c.parts[s.part].logs < 2, logged: c.debug[s.process]} // attempts name offsets, not logs
	for a := r.attempt; a != none; a = c.attempts[a].next {
		at := &c.attempts[a]
		if at.process != s.process {
			continue
		}
		if by, _ := c.sessionOf(s.part, s.process, at.started); by == o.session {
			t.all = append(t.all, try{at.call, a})
		}
	}
	for i := r.call; i != none; i = c.calls[i].next {
		k := &c.calls[i]
		if k.session != o.session || k.attempt != none {
			continue
		}
		if k.near {
			t.near++
			continue
		}
		t.all = append(t.all, try{i, none})
	}
	return t
}

// triesWithoutLog takes all calls for those of the owner that published, if
// only one process made any.
func (c *check) triesWithoutLog(r *request) tries {
	t := tries{exact: true}
	for i := r.call; i != none; i = c.calls[i].next {
		t.exact = t.exact && c.calls[i].process == c.calls[r.call].process
		t.all = append(t.all, try{i, none})
	}
	return t
}

// of views a try: what the simulator saw and what was logged, nil where they are not known.
func (c *check) of(t try) (seen *simulator.Call, logged *attempt) {
	if t.call != none {
		seen = c.seen(&c.calls[t.call])
	}
	if t.attempt != none {
		logged = &c.attempts[t.attempt]
	}
	return seen, logged
}

// answered tells whether a whole answer with a count was sent.
func answered(k *simulator.Call) bool { return k.Status == http.StatusOK && k.Count != nil }

// leavesOpen is the spec's rule for `ambiguous`, by what the simulator did: no
// answer, an incomplete or unreadable one, 5xx other than 501 and 503. Closed
// are a complete 3xx or 4xx, 501 and 503, and an answer with a count.
func leavesOpen(k *simulator.Call) bool {
	switch {
	case k.Status == 0, strings.HasPrefix(k.Fault, "truncated"), strings.Contains(k.Fault, "huge"):
		return true
	case k.Status == http.StatusNotImplemented, k.Status == http.StatusServiceUnavailable, answered(k):
		return false
	}
	return k.Status/100 != 3 && k.Status/100 != 4
}

// mayHaveTakenEffect tells whether a call may have cancelled something, for all
// that anybody knows who does not have its answer.
func mayHaveTakenEffect(k *simulator.Call) bool { return leavesOpen(k) || answered(k) }

// unknown tells that a scenario wrote the answer, and the ledger does not say
// how it reads.
func unknown(k *simulator.Call) bool { return strings.Contains(k.Fault, "body") }

// openness tells whether a try must, and whether it may, count as one that may
// have taken effect unseen. final: the outcome is the answer of this try.
func (c *check) openness(t try, final bool) (must, may bool) {
	seen, logged := c.of(t)
	switch {
	case seen == nil:
		return logged.open, logged.open
	case unknown(seen):
		return false, true
	case leavesOpen(seen):
		return true, true
	case logged != nil && logged.kind == string(worker.KindTimeout) && c.slow(logged.took):
		return true, true // the answer was sent, and did not arrive in time
	case answered(seen) && !final:
		return true, true // the answer was sent, and the owner called again
	case logged == nil && c.slow(float64(seen.EndedAt.Sub(seen.StartedAt).Milliseconds())):
		return false, true
	}
	return false, c.run.Setup.CallsLost && !final
}

// slow tells whether a call that took so many milliseconds may have been given
// up: its deadline includes the connection, which the simulator does not see.
func (c *check) slow(took float64) bool {
	return took >= 0.9*float64(c.run.Setup.AttemptTimeout.Milliseconds())
}
