package admission

import "time"

// The destination is broken when so many calls in a row fail, of several
// sub-accounts that are not shut themselves, and nothing has succeeded for a while;
// or when all that have work are shut, and nothing has succeeded for as long as
// probes may be apart. Broken sub-accounts among others that are well never get
// there, as long as those others have a call now and then.
const (
	tripDestination = 20
	tripQuiet       = 100 * time.Millisecond
)

// What lets calls out after a gate has opened: a tenth of the limit at first, all
// of it three seconds later. Within ten seconds after the API has healed it is
// found out, by a probe, and the former rate is reached.
const (
	rampFrom   = 0.1
	rampGrowth = 0.3 // per second
)

// Change is a gate that was shut, has another reason now, or was opened.
type Change struct {
	SubAccountID string // empty: the destination
	Reason       Reason // empty: opened
	Detail       any    // of Result
	Since        time.Time
	Was          Reason
}

// conclude draws the consequences of a call.
func (a *Admission) conclude(g *grant, r Result, now time.Time) {
	s := g.sub
	slow := now.Sub(g.sent) >= a.slowCall
	switch r.Kind {
	case NotSent:
		a.total.refund(now)
		s.bucket.refund(now)
		a.budget.refund(g.retry)
	case Answered:
		s.limiter.sample(now, g.sent, s.inFlight, a.concurrency)
	case Throttled:
		s.bucket.throttle(now, g.sent, s.used.rate(now))
	}
	if r.RetryAfter > 0 {
		a.pause(s, r.RetryAfter, now)
	}
	if r.Kind != NotSent && r.Kind != CutOff && !g.sent.Before(later(s.door.gate.opened, a.door.gate.opened)) {
		a.judge(g, r, slow, now)
	}
	a.probed(g, r, slow, now)
}

// judge takes a call into account for those that are not probes.
func (a *Admission) judge(g *grant, r Result, slow bool, now time.Time) {
	s := g.sub
	failed := r.Kind == Failed
	if !failed && !slow {
		a.fine(now)
	}
	switch {
	case r.Kind == BadKey:
		a.shut(s, ReasonAuth, r.Detail, now)
	case r.Kind == Upgrade:
		a.shut(s, ReasonUpgrade, r.Detail, now)
	case r.Kind == Throttled || s.door.gate.isShut():
	default:
		s.health.note(now, g.arrival, failed, slow)
		if failed {
			a.failedIn(s, r.Detail, now)
		}
		if s.health.sick() {
			a.shut(s, ReasonBreaker, r.Detail, now)
		}
	}
}

func (a *Admission) fine(now time.Time) { a.row, a.rowSub, a.several, a.fineAt = 0, "", false, now }

// failedIn counts failures towards those of the destination.
func (a *Admission) failedIn(s *subAccount, detail any, now time.Time) {
	a.several = a.several || a.row > 0 && a.rowSub != s.id
	a.row, a.rowSub = a.row+1, s.id
	if a.row < tripDestination || !a.several || now.Sub(a.fineAt) < tripQuiet || a.door.gate.isShut() {
		return
	}
	a.shutDestination(detail, now)
}

func (a *Admission) shutDestination(detail any, now time.Time) {
	for _, s := range a.subs {
		a.stoppedFor(s, now)
	}
	a.door.gate.shut(ReasonBreaker, detail, now)
	a.changes = append(a.changes, Change{Reason: ReasonBreaker, Detail: detail, Since: now})
}

// allBroken tells whether there are several sub-accounts with work, and the
// breakers of all are open.
func (a *Admission) allBroken() bool {
	return a.all(func(s *subAccount) bool { return s.door.gate.reason == ReasonBreaker })
}

// shut lets no calls of s out but probes.
func (a *Admission) shut(s *subAccount, reason Reason, detail any, now time.Time) {
	a.stoppedFor(s, now)
	was := s.door.gate.reason
	if s.door.gate.shut(reason, detail, now) {
		a.changes = append(a.changes, Change{SubAccountID: s.id, Reason: reason, Detail: detail, Since: now, Was: was})
	}
	a.stand(s, now)
}

// probed opens the gates that a call was a probe of, or plans the next probe.
func (a *Admission) probed(g *grant, r Result, slow bool, now time.Time) {
	s := g.sub
	answered := !slow && (r.Kind == Answered || r.Kind == Throttled)
	if g.probe && s.door.gate.isShut() {
		switch {
		case answered && (r.Kind == Answered || !s.door.gate.holds()):
			a.openSubAccount(s, now)
		case r.Kind == NotSent || r.Kind == CutOff:
			s.door.gate.probeAt = now
		default:
			s.door.gate.failed(now)
			if now.Sub(a.fineAt) >= lastProbe && !a.door.gate.isShut() && a.allBroken() {
				a.shutDestination(r.Detail, now)
			}
		}
		a.stand(s, now)
	}
	if g.probesAll && a.door.gate.isShut() {
		switch {
		case answered || r.Kind == BadKey || r.Kind == Upgrade:
			a.openDestination(now)
		case r.Kind == NotSent || r.Kind == CutOff:
			a.door.gate.probeAt = now
		default:
			a.door.gate.failed(now)
		}
	}
}

func (a *Admission) openSubAccount(s *subAccount, now time.Time) {
	a.stoppedFor(s, now)
	a.changes = append(a.changes, Change{SubAccountID: s.id, Since: s.door.gate.since, Was: s.door.gate.reason})
	s.door.gate.open(now)
	s.health, s.limiter = health{}, newLimiter(againLimit)
	s.bucket.ramp(now)
}

func (a *Admission) openDestination(now time.Time) {
	for _, s := range a.subs {
		a.stoppedFor(s, now)
	}
	a.changes = append(a.changes, Change{Since: a.door.gate.since, Was: a.door.gate.reason})
	a.door.gate.open(now)
	a.fine(now)
	a.total.ramp(now)
}
