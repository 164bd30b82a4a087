package admission

import "time"

// door is what lets calls out: of one sub-account, or of all.
type door struct {
	pausedUntil time.Time // by a Retry-After
	gate        gate
}

// opensAt is from when on a call may go, if only as a probe: now, or later.
func (d *door) opensAt(now time.Time) time.Time {
	at := later(now, d.pausedUntil)
	if d.gate.isShut() {
		at = later(at, d.gate.probeAt)
	}
	return at
}

// isOpen tells whether any number of calls may go.
func (d *door) isOpen(now time.Time) bool { return !d.pausedUntil.After(now) && !d.gate.isShut() }

// lets tells whether a call may go that has been admitted, maybe as a probe.
func (d *door) lets(probe bool, now time.Time) bool {
	return !d.pausedUntil.After(now) && (probe || !d.gate.isShut())
}

// stoppage adds up the time in which no call of a sub-account could go, for
// reasons that are not to be charged to its messages. The difference of two
// readings is what there was between them.
type stoppage struct {
	sum  time.Duration
	held time.Duration // the part of it that was behind a hold
	at   time.Time     // up to which they count
}

// stoppedFor brings the count of a sub-account up to date. Whoever changes a
// door calls it before.
func (a *Admission) stoppedFor(s *subAccount, now time.Time) time.Duration {
	d := now.Sub(s.stopped.at)
	if end := later(s.door.pausedUntil, a.door.pausedUntil); s.door.gate.isShut() || a.door.gate.isShut() {
		s.stopped.sum += d
	} else if end.After(s.stopped.at) {
		s.stopped.sum += min(d, end.Sub(s.stopped.at))
	}
	if s.door.gate.holds() {
		s.stopped.held += d
	}
	s.stopped.at = now
	return s.stopped.sum
}

// pause lets no call of the sub-account go out for d, at most retryAfterMax. Of
// several pauses the one that ends last holds. If every sub-account that has
// work is paused, the destination is.
func (a *Admission) pause(s *subAccount, d time.Duration, now time.Time) {
	until := now.Add(min(d, a.retryAfterMax))
	a.stoppedFor(s, now)
	s.door.pausedUntil = later(s.door.pausedUntil, until)
	if s.waiting > 0 {
		a.stand(s, now)
	}
	if until.After(a.door.pausedUntil) && a.allPaused(now) {
		for _, s := range a.subs {
			a.stoppedFor(s, now)
		}
		a.door.pausedUntil = later(a.door.pausedUntil, until)
	}
}

// allPaused tells whether there are several sub-accounts with work, and all of
// them are paused.
func (a *Admission) allPaused(now time.Time) bool {
	return a.all(func(s *subAccount) bool { return s.door.pausedUntil.After(now) })
}

// all tells whether something is true of all sub-accounts with work, and of
// several.
func (a *Admission) all(is func(*subAccount) bool) bool {
	n := 0
	for _, s := range a.subs {
		switch {
		case is(s):
			n++
		case s.waiting > 0 || s.inFlight > 0:
			return false
		}
	}
	return n > 1
}

func later(x, y time.Time) time.Time {
	if y.After(x) {
		return y
	}
	return x
}
