package admission

import "time"

// HeldError says that a call waited behind a hold for as long as it may.
type HeldError struct {
	Reason Reason
	Detail any // of the Result that told last that the key is refused
}

func (e *HeldError) Error() string { return "held: " + string(e.Reason) }

// stand puts s where it belongs: in the lanes, or aside until its door opens. Then
// those who have waited behind a hold for long enough are sent away: not before,
// for one of them is the probe.
func (a *Admission) stand(s *subAccount, now time.Time) {
	a.sleeping.remove(s)
	s.aside = roomy
	at := s.door.opensAt(now)
	if at.After(now) {
		a.sendAway(s, now)
	}
	switch {
	case s.waiting == 0:
		a.rest(s, now)
	case at.After(now):
		a.sleep(s, earlier(at, a.patienceEnds(s, now)))
	default:
		a.enlist(s)
	}
}

// enlist puts the queues of s into the lanes, last in turn.
func (a *Admission) enlist(s *subAccount) {
	for _, q := range s.queues {
		if q.len() > 0 && q.turn == nil {
			q.ring.add(q)
		}
	}
}

// sendAway refuses those whose patience has ended.
func (a *Admission) sendAway(s *subAccount, now time.Time) {
	if !s.door.gate.holds() {
		return
	}
	a.stoppedFor(s, now)
	for w := s.patience.first(); w != nil && w.patience <= s.stopped.held; w = s.patience.first() {
		a.leave(w)
		w.refused = &HeldError{Reason: s.door.gate.reason, Detail: s.door.gate.detail}
		w.pass = a.waited(w, now)
		close(w.admitted)
	}
}

// patienceEnds is when the next waiter of s has waited behind the hold for long
// enough; zero if never.
func (a *Admission) patienceEnds(s *subAccount, now time.Time) time.Time {
	w := s.patience.first()
	if w == nil || !s.door.gate.holds() {
		return time.Time{}
	}
	return now.Add(w.patience - s.stopped.held)
}

// waited is a pass for nothing that tells what w waited for.
func (a *Admission) waited(w *waiter, now time.Time) Pass {
	s := w.queue.sub
	paused := a.stoppedFor(s, now) - w.before.sum
	return Pass{Paused: paused, Held: s.stopped.held - w.before.held}
}
