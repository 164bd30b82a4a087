package admission

import "time"

// This file is the scheduler proper. Every function runs under a.mu. A
// sub-account with waiters either sleeps or has its queues in the lanes; one
// without waiters and calls is in idle or nowhere.

// dispatch admits whoever may go now and sets the alarm for the next who may.
func (a *Admission) dispatch(now time.Time) {
	for a.sleeping.len() > 0 && !a.sleeping.first().wakeAt.After(now) {
		a.wakeUp(a.sleeping.pop())
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
		if at := q.sub.door.opensAt(now); at.After(now) {
			a.sleep(q.sub, at)
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
	w := q.first(now)
	q.lane.served(w, now)
	a.leave(w)
	a.pass(q.lane, a.budget.wait(now) == 0)
	w.pass = a.admit(q.sub, w.ticket.Retry, now)
	w.pass.Paused = a.stoppedFor(q.sub, now) - w.stoppedBefore
	close(w.admitted)
}

// admit takes a slot.
func (a *Admission) admit(s *subAccount, retry bool, now time.Time) Pass {
	a.budget.sent(retry)
	a.inFlight++
	s.inFlight++
	s.used.add(now)
	a.used.add(now)
	a.idle.remove(s)
	return Pass{grant: &grant{admission: a, sub: s, sent: now, retry: retry}}
}

// release gives a slot back.
func (a *Admission) release(s *subAccount, now time.Time) {
	a.inFlight--
	s.inFlight--
	a.rest(s, now)
	a.dispatch(now)
}

// join queues a waiter.
func (a *Admission) join(s *subAccount, w *waiter) {
	a.idle.remove(s)
	q := s.queue(a.lane(w.ticket.Lane), w.ticket.Retry)
	q.add(w)
	s.waiting++
	if q.turn == nil && !a.sleeping.has(s) {
		q.ring.add(q)
	}
}

// leave takes a waiter out.
func (a *Admission) leave(w *waiter) {
	w.queue.remove(w)
	w.queue.sub.waiting--
}

// wakeUp puts the queues of s, which does not sleep any more, last in turn.
func (a *Admission) wakeUp(s *subAccount) {
	for _, q := range s.queues {
		if q.len() > 0 && q.turn == nil {
			q.ring.add(q)
		}
	}
}

// sleep lets s stand aside until a time.
func (a *Admission) sleep(s *subAccount, until time.Time) {
	for _, q := range s.queues {
		q.ring.remove(q)
	}
	a.sleeping.remove(s)
	s.wakeAt = until
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
