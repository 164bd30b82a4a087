package admission

import "time"

// This file is the scheduler proper. Every function runs under a.mu. A
// sub-account with waiters stands in exactly one of ready and sleeping, one
// without waiters and calls in idle or nowhere.

// dispatch admits whoever may go now and sets the alarm for the next who may.
func (a *Admission) dispatch(now time.Time) {
	for a.sleeping.due(now) {
		a.enqueue(a.sleeping.pop())
	}
	var next time.Time
	for a.inFlight < a.concurrency && a.ready.Len() > 0 {
		s := a.ready.Front().Value.(*subAccount)
		if s.pause.active(now) {
			a.dequeue(s)
			a.sleep(s, s.pause.end)
			continue
		}
		ok, wait := a.takeTokens(s, now)
		if ok {
			a.admitFirst(s, now)
			continue
		}
		if wait.total {
			next = now.Add(wait.d) // nobody else can go before either
			break
		}
		a.dequeue(s)
		a.sleep(s, now.Add(wait.d))
	}
	a.alarm.set(now, earlier(next, a.sleeping.next()))
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

// admitFirst lets the first waiter of s go, and puts s last in turn.
func (a *Admission) admitFirst(s *subAccount, now time.Time) {
	w := s.waiters.Remove(s.waiters.Front()).(*waiter)
	w.pass = a.admit(s)
	w.pass.Paused = s.pause.total(now) - w.pausedBefore
	close(w.admitted)
	if s.waiters.Len() == 0 {
		a.dequeue(s)
	} else {
		a.ready.MoveToBack(s.turn)
	}
}

// admit takes a slot.
func (a *Admission) admit(s *subAccount) Pass {
	a.inFlight++
	s.inFlight++
	a.idle.remove(s)
	return Pass{grant: &grant{admission: a, sub: s}}
}

// release gives a slot back, once.
func (a *Admission) release(g *grant, now time.Time) {
	if g.done {
		return
	}
	g.done = true
	a.inFlight--
	g.sub.inFlight--
	a.rest(g.sub, now)
	a.dispatch(now)
}

// enqueue puts s, which has waiters, last in turn.
func (a *Admission) enqueue(s *subAccount) {
	a.idle.remove(s)
	s.turn = a.ready.PushBack(s)
}

// dequeue takes s out of ready or sleeping.
func (a *Admission) dequeue(s *subAccount) {
	if s.turn != nil {
		a.ready.Remove(s.turn)
		s.turn = nil
	}
	a.sleeping.remove(s)
}

// sleep puts s, which is in no queue, aside until a time.
func (a *Admission) sleep(s *subAccount, until time.Time) {
	a.sleeping.push(s, until)
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

// alarm is one timer, set to the next moment at which somebody may go.
type alarm struct {
	ring  func()
	timer *time.Timer
	at    time.Time // zero when it is not set
}

// set leaves a timer that rings early enough as it is: to ring in vain is
// cheaper than to set it with every admission.
func (t *alarm) set(now, at time.Time) {
	switch {
	case at.IsZero():
		t.stop()
	case !t.at.IsZero() && !at.Before(t.at):
	case t.timer == nil:
		t.at, t.timer = at, time.AfterFunc(at.Sub(now), t.ring)
	default:
		t.at = at
		t.timer.Reset(at.Sub(now))
	}
}

func (t *alarm) stop() {
	if !t.at.IsZero() {
		t.timer.Stop()
		t.at = time.Time{}
	}
}
