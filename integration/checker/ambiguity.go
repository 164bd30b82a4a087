package checker

import (
	"fmt"

	"smscancel/worker"
)

// doubt is why an outcome must or may be ambiguous.
type doubt struct {
	must, may bool
	why       string // of must
}

func (d *doubt) add(must, may bool, format string, args ...any) {
	d.may = d.may || may
	if must && !d.must {
		d.must, d.why = true, fmt.Sprintf(format, args...)
	}
}

// checkAmbiguous: an outcome is ambiguous exactly if a call for its record may
// have taken effect without its answer reaching us, unless it is cancelled.
func (c *check) checkAmbiguous(i int32, r *request, o *outcome, t *tries) {
	if o.status == worker.StatusCancelled && !r.batch {
		if o.ambiguous {
			c.violated(AmbiguousFalse, i, "its outcome is cancelled and ambiguous")
		}
		return
	}
	if !o.ambiguous && o.status != worker.StatusCancelled {
		if effect := c.effectOf(r); effect != "" {
			c.violated(Unreported, i, "%s, and its outcome is %s and not ambiguous", effect, o.status)
			return
		}
	}
	d := c.doubtOf(i, r, o, t)
	switch {
	case d.must && !o.ambiguous:
		c.violated(AmbiguousMissing, i, "its outcome is %s and not ambiguous, but %s", o.status, d.why)
	case o.ambiguous && !d.may:
		c.violated(AmbiguousFalse, i, "its outcome is %s and ambiguous, and no call can have taken effect unseen", o.status)
	}
}

// effectOf names a call that cancelled something.
func (c *check) effectOf(r *request) string {
	for i := r.call; i != none; i = c.calls[i].next {
		if seen := c.seen(&c.calls[i]); seen.Effect > 0 {
			return fmt.Sprintf("call %d at %s cancelled %d", seen.Sequence, clock(seen.StartedAt), seen.Effect)
		}
	}
	return ""
}

func (c *check) doubtOf(i int32, r *request, o *outcome, t *tries) (d doubt) {
	for n, one := range t.all {
		final := n == len(t.all)-1 && o.count >= 0
		must, may := c.openness(one, final)
		d.add(must && t.exact, may, "what came of its own try %d is open", n+1)
	}
	for k := r.call; k != none; k = c.calls[k].next {
		c.doubtOfOthers(&d, &c.calls[k], o, t)
	}
	if c.run.Setup.CallsLost && c.parts[r.part].logs > 1 && o.attempts > 0 {
		d.may = true // an attempt is logged with the offset, which names several records here, and its call may have arrived nowhere
	}
	if o.session == none || !c.sessions[o.session].known {
		d.may = true // nobody says what lease its owner inherited
		return d
	}
	s, offset := &c.sessions[o.session], c.run.Requests[i].Offset
	d.add(offset <= c.surelyInherited(s), offset <= s.lease && (s.cappedAt == 0 || offset <= s.capped),
		"the lease that its owner inherited covers it: %d, end %d", s.lease, s.end)
	return d
}

// doubtOfOthers looks at a call by an earlier owner, whose answer died with it.
func (c *check) doubtOfOthers(d *doubt, k *call, o *outcome, t *tries) {
	seen := c.seen(k)
	switch {
	case !t.exact, k.session == o.session && !k.near:
		return // it is among the tries
	case k.near || k.session == none || o.session == none:
		d.add(false, mayHaveTakenEffect(seen), "")
	case c.sessions[k.session].order < c.sessions[o.session].order:
		d.add(mayHaveTakenEffect(seen) && !unknown(seen), mayHaveTakenEffect(seen) || unknown(seen),
			"what came of call %d at %s by an earlier owner is open", seen.Sequence, clock(seen.StartedAt))
	}
}

// surelyInherited is the lease that marks every record up to it, whatever the
// owner did not log.
func (c *check) surelyInherited(s *session) int64 {
	switch {
	case s.cappedAt != 0:
		return s.capped
	case !c.debug[s.process]:
		return min(s.lease, s.end-1)
	}
	return s.lease
}
