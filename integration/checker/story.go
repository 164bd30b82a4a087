package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// event is one thing that happened to a request or around it.
type event struct {
	at   time.Time
	rank int // what stands first at one time
	text string
}

// story is everything that is known of a request, in the order of time: what
// was asked, who owned its partition, calls, outcomes, commits around it.
func (c *check) story(i int32) string {
	r, rec := &c.requests[i], &c.run.Requests[i]
	var events []event
	tell := func(at time.Time, rank int, format string, args ...any) {
		events = append(events, event{at, rank, fmt.Sprintf(format, args...)})
	}
	tell(rec.Timestamp, 0, "request %s, key %q, trace %q: %.300q", placeOf(rec), rec.Key, header(rec, "traceparent"), rec.Value)
	c.tellSiblings(i, tell)
	c.tellOwners(r, tell)
	for k := r.call; k != none; k = c.calls[k].next {
		c.tellCall(&c.calls[k], tell)
	}
	for a := r.attempt; a != none; a = c.attempts[a].next {
		at := &c.attempts[a]
		tell(time.UnixMilli(at.started), 3, "attempt logged by %s: %.1f ms, HTTP %d, kind %q, open: %t", c.instance(at.process), at.took, at.status, at.kind, at.open)
	}
	for o := r.outcome; o != none; o = c.outcomes[o].again {
		out := &c.run.Outcomes[o]
		tell(out.Timestamp, 5, "outcome at %s by epoch %d of producer %d: %.700s", placeOf(out), out.ProducerEpoch, out.ProducerID, out.Value)
	}
	c.tellCommits(r, rec.Offset, tell)
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.rank, b.rank)) })
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "    %s  %s\n", clock(e.at), e.text)
	}
	return b.String()
}

type teller func(at time.Time, rank int, format string, args ...any)

// tellSiblings names other requests for the same message and their outcomes.
func (c *check) tellSiblings(i int32, tell teller) {
	const most = 10
	told := 0
	for j := range c.requests {
		if r := &c.requests[j]; r.target == none || r.target != c.requests[i].target || int32(j) == i || told == most {
			continue
		}
		told++
		rec := &c.run.Requests[j]
		what := "no outcome"
		if o := c.requests[j].outcome; o != none {
			out := &c.run.Outcomes[o]
			what = fmt.Sprintf("outcome at %s of %s by epoch %d of producer %d: %s, count %d, %d attempts, ambiguous: %t", placeOf(out), clock(out.Timestamp),
				out.ProducerEpoch, out.ProducerID, c.outcomes[o].status, c.outcomes[o].count, c.outcomes[o].attempts, c.outcomes[o].ambiguous)
		}
		tell(rec.Timestamp, 0, "same message: request %s, %d calls; %s", placeOf(rec), c.requests[j].calls, what)
	}
}

func (c *check) tellOwners(r *request, tell teller) {
	for _, i := range c.parts[r.part].sessions {
		s := &c.sessions[i]
		if !s.known {
			continue
		}
		left := ""
		if s.cappedAt != 0 {
			left = fmt.Sprintf(", from %s on %d", clockOf(s.cappedAt), s.capped)
		}
		tell(time.UnixMilli(s.fenced), 1, "taken over by %s: epoch %d of producer %d, found the commit (%s), trusted: %t, begins at %d, end %d, lease %s%s",
			c.instance(s.process), s.epoch, s.pid, s.read, s.trusted, s.offset, s.end, leaseText(s.lease), left)
	}
}

func leaseText(lease int64) string {
	if lease == unknownLease {
		return "unknown"
	}
	return fmt.Sprint(lease)
}

func (c *check) tellCall(k *call, tell teller) {
	seen := c.seen(k)
	owner := "an unknown owner"
	if k.session != none {
		owner = fmt.Sprintf("epoch %d of producer %d", c.sessions[k.session].epoch, c.sessions[k.session].pid)
	}
	count := ""
	if seen.Count != nil {
		count = fmt.Sprintf(", count %d", *seen.Count)
	}
	tell(seen.StartedAt, 4, "call %d by %s (%s) until %s: HTTP %d%s, code %d, effect %d, fault %q, client left: %t", seen.Sequence, c.instance(k.process),
		owner, clock(seen.EndedAt), seen.Status, count, seen.Code, seen.Effect, seen.Fault, seen.Aborted)
}

// tellCommits shows the commits that first covered the request: by their lease,
// and by their offset, with the one before each.
func (c *check) tellCommits(r *request, offset int64, tell teller) {
	leased, passed := false, false
	previous := none
	for i := range c.commits {
		k := &c.commits[i]
		if k.part != r.part {
			continue
		}
		of := &c.run.Commits[i]
		first := !leased && k.meta.Lease >= offset || !passed && of.Offset > offset
		leased, passed = leased || k.meta.Lease >= offset, passed || of.Offset > offset
		if first {
			if previous != none {
				c.tellCommit(previous, tell)
			}
			c.tellCommit(int32(i), tell)
			previous = none
			continue
		}
		previous = int32(i)
	}
	if previous != none {
		c.tellCommit(previous, tell)
	}
}

func (c *check) tellCommit(i int32, tell teller) {
	of, m := &c.run.Commits[i], &c.commits[i].meta
	tell(of.At, 6, "commit %d of %s: offset %d, epoch %d of producer %d, lease %s, clean: %t", i, c.groupOf(of), of.Offset, m.Epoch, m.PID, leaseText(m.Lease), m.Clean)
}
