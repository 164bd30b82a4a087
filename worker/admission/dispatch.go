package admission

import "time"

// This file is the scheduler proper. Every function runs under a.mu. A
// sub-account with waiters either sleeps or has its queues in the lanes; one
// without waiters and calls is in idle or nowhere.

// dispatch admits whoever may go now and sets the alarm for the next who may.
func (a *Admission) dispatch(now time.Time) {
	for a.sleeping.len() > 0 && !a.sleeping.first().wakeAt.After(now) {
		a.stand(a.sleeping.first(), now)
	}
	next := a.admitAll(now)
	if s := a.sleeping.first(); s != nil {
		next = earlier(next, s.wakeAt)
	}
	a.alarm.set(now, next)
}

// admitAll returns when somebody may go for whom nobody sleeps; zero if nobody.
func (a *Admission) admitAll(now time.Time) time.Time {
	for a.inFlight < a.concurrency {
		wait := a.budget.wait(now)
		l := a.nextLane(wait == 0)
		switch at := a.door.opensAt(now); {
		case l == nil && a.nextLane(true) == nil:
			return time.Time{}
		case at.After(now):
			return at
		case l == nil:
			return now.Add(wait)
		}
		q := l.next(now, wait == 0)
		if q.sub.door.opensAt(now).After(now) {
			a.stand(q.sub, now)
			continue
		}
		if why := a.crowded(q.sub); why != roomy {
			a.stepAside(q.sub, why)
			continue
		}
		ok, short := a.takeTokens(q.sub, now)
		switch {
		case ok:
			a.admitFirst(q, now)
		case short.total:
			return now.Add(short.d) // nobody else can go before either
		default:
			a.sleep(q.sub, now.Add(short.d))
		}
	}
	return time.Time{}
}

// shortage says which bucket lacks a token, and for how long.
type shortage struct {
	total bool
	d     time.Duration
}

// takeTokens takes a token of the sub-account and one of the total, or neither.
func (a *Admission) takeTokens(s *subAccount, now time.Time) (bool, shortage) {
	own, d := s.bucket.take(now)
	if d > 0 {
		return false, shortage{d: d}
	}
	if _, d = a.total.take(now); d > 0 {
		own.CancelAt(now)
		return false, shortage{total: true, d: d}
	}
	return true, shortage{}
}

// admitFirst lets the first waiter of q go, and puts q last in turn.
func (a *Admission) admitFirst(q *queue, now time.Time) {
	w, s := q.first(now), q.sub
	q.lane.served(w, now)
	a.leave(w)
	a.pass(q.lane, a.budget.wait(now) == 0)
	w.pass = a.waited(w, now)
	w.pass.grant = a.admit(s, w.ticket, now)
	close(w.admitted)
	if s.door.gate.isShut() && s.waiting > 0 {
		a.stand(s, now)
	}
}

// admit takes a slot. What goes out through a gate that is shut is its probe.
func (a *Admission) admit(s *subAccount, t Ticket, now time.Time) *grant {
	g := &grant{admission: a, sub: s, sent: now, arrival: t.Arrival, retry: t.Retry,
		probe: s.door.gate.isShut(), probesAll: a.door.gate.isShut()}
	if g.probe {
		s.door.gate.launch(now)
	}
	if g.probesAll {
		a.door.gate.launch(now)
	}
	a.budget.sent(t.Retry)
	a.inFlight++
	s.inFlight++
	s.used.add(now)
	a.used.add(now)
	a.idle.remove(s)
	return g
}

// release gives a slot back.
func (a *Admission) release(s *subAccount, now time.Time) {
	a.inFlight--
	s.inFlight--
	a.comeBack(s, now)
	a.rest(s, now)
	a.dispatch(now)
}

// join queues a waiter.
func (a *Admission) join(s *subAccount, w *waiter, now time.Time) {
	a.idle.remove(s)
	a.stoppedFor(s, now)
	w.before, w.patience = s.stopped, s.stopped.held+w.ticket.HoldFor
	q := s.queue(a.lane(w.ticket.Lane), w.ticket.Retry)
	q.add(w)
	s.patience.add(w)
	s.waiting++
	if !a.sleeping.has(s) && s.aside == roomy || s.door.gate.holds() && s.patience.first() == w {
		a.stand(s, now)
	}
}

// leave takes a waiter out.
func (a *Admission) leave(w *waiter) {
	w.queue.remove(w)
	w.queue.sub.patience.remove(w)
	w.queue.sub.waiting--
}

// sleep lets s stand aside until a time.
func (a *Admission) sleep(s *subAccount, until time.Time) {
	for _, q := range s.queues {
		q.ring.remove(q)
	}
	a.sleeping.remove(s)
	s.aside, s.wakeAt = roomy, until
	a.sleeping.add(s)
}

// wake is called when the alarm rings.
func (a *Admission) wake() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alarm.at = time.Time{}
	a.dispatch(time.Now())
}

// earlier returns the earlier of two times, where zero means never.
func earlier(x, y time.Time) time.Time {
	if x.IsZero() || !y.IsZero() && y.Before(x) {
		return y
	}
	return x
}
