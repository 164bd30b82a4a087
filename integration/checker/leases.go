package checker

import (
	"fmt"
	"math"
)

// unknownLease is a lease that nobody can tell: any record may have been called.
const unknownLease = math.MaxInt64

// checkLeases holds the lease that every owner says it inherited against the
// commit that it says it found, and that one against the history.
func (c *check) checkLeases() {
	for p := range c.parts {
		for _, i := range c.parts[p].sessions {
			if s := &c.sessions[i]; s.known {
				c.checkRead(s)
				c.checkInherited(s)
				c.checkCap(s)
			}
		}
	}
}

// checkRead: the commit that an owner went by is the newest that it must have
// seen, or a later one. A commit is seen when it is replicated, which may take a
// moment; until it is acknowledged nobody acts on it.
func (c *check) checkRead(s *session) {
	if !c.hasHistory(s.group) || c.run.Setup.ClocksDiffer {
		return
	}
	newest := none // that it must have seen
	for _, i := range c.committed[groupPart{s.group, s.part}] {
		at := c.run.Commits[i].At.UnixMilli()
		if at < s.fenced-replicated {
			newest = i
		} else if at < s.fenced+readWithin && c.isRead(s, i) {
			return
		}
	}
	switch {
	case newest == none && s.read.Offset >= 0:
		c.violated(WrongLease, none, "%s went by a commit of offset %d that the history does not have", c.name(s), s.read.Offset)
	case newest != none && !c.isRead(s, newest):
		c.violated(WrongLease, none, "%s went by a commit of offset %d (%s), and the newest then was that of %s at %s: %q",
			c.name(s), s.read.Offset, s.read, placeOfCommit(&c.run.Commits[newest]), clock(c.run.Commits[newest].At), c.run.Commits[newest].Metadata)
	}
}

// How long before the fence a commit must have been handled to be seen for
// certain, and how long after it the owner may have read, in milliseconds.
const (
	replicated = 10_000
	readWithin = 15_000
)

// isRead tells whether a commit is the one that an owner says it has found.
func (c *check) isRead(s *session, i int32) bool {
	m := &c.commits[i].meta
	switch {
	case c.run.Commits[i].Offset != s.read.Offset:
		return false
	case s.read.ProducerID == nil && c.run.Setup.OffsetsSet:
		return true // an operator's text, which may be none of ours in many ways
	case s.read.ProducerID == nil || !c.commits[i].parsed:
		return s.read.ProducerID == nil && !c.commits[i].parsed
	}
	return m.PID == *s.read.ProducerID && m.Epoch == s.read.Epoch && m.Lease == s.read.Lease
}

// checkInherited: with the epoch after that of the commit, fences of its own
// under which it did nothing left out, an owner inherits the commit's lease;
// where somebody else may have written in between, or where the commit says
// nothing about a ledger that holds outcomes or that somebody else has held, any
// record may have been called.
func (c *check) checkInherited(s *session) {
	want := int64(-1)
	switch {
	case s.trusted && s.read.ProducerID == nil:
		c.violated(WrongLease, none, "%s trusts a commit without metadata", c.name(s))
		return
	case s.trusted && *s.read.ProducerID == s.pid && c.nobodySince(s.read.Epoch, s):
		want = s.read.Lease
	case s.trusted && s.lease == s.read.Lease && c.untold(s):
		return
	case s.trusted || s.found > 0 || !c.nobodySince(-1, s):
		want = unknownLease
	case s.lease == unknownLease:
		return // the ledger was replaced
	}
	if s.lease != want {
		c.violated(WrongLease, none, "%s inherited the lease %d from (%s), not %d", c.name(s), s.lease, s.read, want)
	}
}

// nobodySince tells whether all fences after an epoch and before an owner are
// idle ones of the same process.
func (c *check) nobodySince(epoch int16, s *session) bool {
	if epoch >= s.epoch {
		return false
	}
	for e := epoch + 1; e < s.epoch; e++ {
		f := fence{s.part, s.pid, e}
		if process, ok := c.idle[f]; ok && process == s.process {
			continue
		}
		i, ok := c.byFence[f]
		if !ok || c.sessions[i].process != s.process || len(c.sessions[i].commits) > 0 {
			return false
		}
	}
	return true
}

// untold tells whether an owner may have given takeovers up in between without
// a word, because its log has only more important lines.
func (c *check) untold(s *session) bool {
	if c.debug[s.process] || *s.read.ProducerID != s.pid {
		return false
	}
	for e := s.read.Epoch + 1; e < s.epoch; e++ {
		if i, ok := c.byFence[fence{s.part, s.pid, e}]; ok && c.sessions[i].process != s.process {
			return false
		}
	}
	return true
}

// checkCap: what may still be called by an owner that has not noticed its end is
// known only when it must have stopped.
func (c *check) checkCap(s *session) {
	stopped := s.fenced + c.run.Setup.SessionTimeout.Milliseconds()
	if s.cappedAt == 0 || c.run.Setup.ClocksDiffer {
		return
	}
	if s.cappedAt < stopped || s.capped < s.end-1 {
		c.violated(WrongLease, none, "%s capped its inherited lease to %d at %s; the fence stood at %s with the end %d, and the session timeout is %s",
			c.name(s), s.capped, clockOf(s.cappedAt), clockOf(s.fenced), s.end, c.run.Setup.SessionTimeout)
	}
}

// name is how a report calls an owner.
func (c *check) name(s *session) string {
	p := c.parts[s.part]
	return fmt.Sprintf("epoch %d of producer %d, %s, which took %s/%d over at %s,", s.epoch, s.pid, c.instance(s.process), p.topic, p.partition, clockOf(s.fenced))
}

// String shows what a takeover found.
func (r readCommit) String() string {
	if r.ProducerID == nil {
		return fmt.Sprintf("offset %d without metadata", r.Offset)
	}
	return fmt.Sprintf("offset %d by epoch %d of producer %d, lease %d", r.Offset, r.Epoch, *r.ProducerID, r.Lease)
}
