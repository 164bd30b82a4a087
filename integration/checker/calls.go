package checker

import (
	"cmp"
	"slices"
	"strings"

	"smscancel/integration/simulator"
)

// call is one call that the simulator saw.
type call struct {
	seen    int32 // index in the run
	request int32 // none = nobody asked for it
	process int32 // none = it says not by which
	session int32 // the owner that made it; none = not known
	attempt int32 // the same as its process logged it; none = it did not
	next    int32 // of the same request
	near    bool  // it may as well be by the owner before, which the same process was
}

// readCalls finds for every call the request and the owner that made it.
func (c *check) readCalls() {
	c.calls = make([]call, len(c.run.Calls))
	for i := range c.calls {
		c.calls[i] = call{seen: int32(i), request: none, process: none, session: none, attempt: none, next: none}
	}
	slices.SortFunc(c.calls, func(a, b call) int {
		x, y := c.seen(&a), c.seen(&b)
		return cmp.Or(x.StartedAt.Compare(y.StartedAt), cmp.Compare(x.Sequence, y.Sequence))
	})
	for i := range c.calls {
		k := &c.calls[i]
		k.process = c.processOf(c.seen(k).UserAgent)
		if k.request = c.askedFor(c.seen(k)); k.request != none {
			r := &c.requests[k.request]
			r.calls++
			link(&r.call, &r.lastCall, int32(i), func(last int32) *int32 { return &c.calls[last].next })
		}
	}
	for r := range c.requests {
		c.matchAttempts(&c.requests[r])
	}
	for i := range c.calls {
		k := &c.calls[i]
		if k.request != none && k.process != none {
			k.session, k.near = c.sessionOf(c.requests[k.request].part, k.process, c.started(k))
			k.near = k.near && k.attempt == none
		}
	}
}

func (c *check) seen(k *call) *simulator.Call { return &c.run.Calls[k.seen] }

// started is when the process started a call, Unix milliseconds; without its
// word when the call arrived.
func (c *check) started(k *call) int64 {
	if k.attempt != none {
		return c.attempts[k.attempt].started
	}
	return c.seen(k).StartedAt.UnixMilli()
}

// processOf reads the instance in a User-Agent like "smscancel/v1 (host-04d2)".
func (c *check) processOf(userAgent string) int32 {
	open, end := strings.LastIndexByte(userAgent, '('), strings.LastIndexByte(userAgent, ')')
	if open < 0 || end < open {
		return none
	}
	return c.process(userAgent[open+1 : end])
}

// askedFor is the request that a call is for: the one of its trace and target.
// Where several requests share both, calls go to the first that has not had as
// many as its outcome reports.
func (c *check) askedFor(k *simulator.Call) int32 {
	key := c.fingerprint(target{part: none, subAccount: k.SubAccount, id: strings.ToLower(k.ID), batch: k.Batch, trace: traceOf(k.TraceParent)})
	first, ok := c.asked[key]
	if !ok {
		return none
	}
	group := c.sharing[key]
	for len(group) > 1 && c.satisfied(group[0]) {
		group = group[1:]
	}
	if len(group) > 0 {
		c.sharing[key] = group
		return group[0]
	}
	return first
}

func (c *check) satisfied(i int32) bool {
	r := &c.requests[i]
	return r.outcome != none && r.calls >= c.outcomes[r.outcome].attempts
}

// matchAttempts pairs the calls for a request with what their processes logged,
// the surest pairs first. An attempt that wrote nothing should have made no call,
// and that of another may have been lost on its way. A call arrives while its
// attempt lasts; on a slow machine also when its process has given it up.
func (c *check) matchAttempts(r *request) {
	for _, fits := range []func(*attempt, *simulator.Call) bool{
		func(a *attempt, k *simulator.Call) bool {
			return a.written() && a.status == k.Status && a.lasted(k.StartedAt)
		},
		func(a *attempt, k *simulator.Call) bool { return a.written() && a.status == 0 && a.lasted(k.StartedAt) },
		func(a *attempt, k *simulator.Call) bool { return a.lasted(k.StartedAt) },
		func(a *attempt, k *simulator.Call) bool {
			return a.written() && (a.status == 0 || a.status == k.Status)
		},
		func(a *attempt, _ *simulator.Call) bool { return a.written() },
	} {
		for i := r.call; i != none; i = c.calls[i].next {
			if k := &c.calls[i]; k.attempt == none {
				c.matchCall(r, i, k, fits)
			}
		}
	}
}

// matchCall finds the first attempt that a call may be of.
func (c *check) matchCall(r *request, i int32, k *call, fits func(*attempt, *simulator.Call) bool) {
	seen := c.seen(k)
	for a := r.attempt; a != none; a = c.attempts[a].next {
		at := &c.attempts[a]
		if k.process == at.process && at.call == none && seen.StartedAt.UnixMilli() >= at.started && fits(at, seen) {
			k.attempt, at.call = a, i
			return
		}
	}
}

// checkCalls decides whether each call may have been made at all.
func (c *check) checkCalls() {
	for i := range c.calls {
		k := &c.calls[i]
		switch seen := c.seen(k); {
		case k.request == none:
			c.violated(ForeignCall, none, "call %d at %s by %q for %s of sub-account %s: no request asked for it",
				seen.Sequence, clock(seen.StartedAt), seen.UserAgent, seen.ID, seen.SubAccount)
		case k.session == none && len(c.run.Logs) > 0:
			c.violated(Unowned, k.request, "it was called at %s by %q, which had not taken the partition over", clock(seen.StartedAt), seen.UserAgent)
		case k.session != none:
			c.checkZombie(k)
			c.checkLeased(k)
		}
	}
}

// checkDeadlines: no call starts after the deadline of its request, by the clock
// of the process that makes it.
func (c *check) checkDeadlines() {
	for i := range c.attempts {
		a := &c.attempts[i]
		if a.request == none || c.run.Setup.ClocksDiffer {
			continue
		}
		r := &c.requests[a.request]
		if c.parts[r.part].logs > 1 {
			continue // the attempt may be for the record of another log
		}
		if r.deadline != 0 && a.started > r.deadline+tolerance {
			c.violated(LateCall, a.request, "it was called at %s, and its deadline is %s", clockOf(a.started), clockOf(r.deadline))
		}
	}
}

// checkZombie: an owner stops calling by itself when nothing has confirmed its
// hold for a session timeout; the fence of the next owner ends that.
func (c *check) checkZombie(k *call) {
	s := &c.sessions[k.session]
	if s.next == none || c.run.Setup.ClocksDiffer {
		return
	}
	heir := &c.sessions[s.next]
	limit := heir.fenced + c.run.Setup.SessionTimeout.Milliseconds() + tolerance
	switch {
	case !heir.known, k.near:
		return
	case k.attempt == none && c.debug[k.process]:
		return // its process ended before it did: the call was in hand, however late it arrived
	case k.attempt == none:
		limit += c.run.Setup.AttemptTimeout.Milliseconds() // it may have waited for a connection
	}
	if at := c.started(k); at > limit {
		c.violated(ZombieCall, k.request, "epoch %d of producer %d called it at %s, %d ms after epoch %d of producer %d had taken the partition over",
			s.epoch, s.pid, clock(c.seen(k).StartedAt), at-heir.fenced, heir.epoch, heir.pid)
	}
}

// tolerance is what times of different processes may differ by, milliseconds.
const tolerance = 1000

// checkLeased: a call starts only when a commit that covers it was acknowledged.
func (c *check) checkLeased(k *call) {
	s := &c.sessions[k.session]
	if !c.hasHistory(s.group) || k.near || !s.known {
		return
	}
	offset := c.run.Requests[k.request].Offset
	first, _ := slices.BinarySearch(s.leases, offset)
	if first == len(s.leases) {
		c.violated(Unleased, k.request, "it was called at %s by epoch %d of producer %d, which never committed a lease that covers it",
			clock(c.seen(k).StartedAt), s.epoch, s.pid)
		return
	}
	if at := c.run.Commits[s.commits[first]].At; !c.run.Setup.ClocksDiffer && c.seen(k).StartedAt.Before(at) {
		c.violated(Unleased, k.request, "it was called at %s, and the first commit with a lease that covers it is of %s",
			clock(c.seen(k).StartedAt), clock(at))
	}
}
