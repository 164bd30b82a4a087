package admission

import (
	"container/list"
	"time"
)

const (
	// laneShare: of so many admissions a lane that has work gets one at least.
	laneShare = 16
	// turnShare: of so many admissions of a lane one goes by turn, however many
	// deadlines are near.
	turnShare = 4
	// maxLanes bounds what a wrong ticket could make us keep.
	maxLanes = 64
)

// lane orders the queues of the sub-accounts that may go, as far as is known.
// Retries stand apart, for their budget may be used up.
type lane struct {
	firsts, retries ring
	passed          int  // admissions of other lanes since its own last one
	urgent          int  // admissions by deadline since the last one by turn
	retried         bool // the last admission by turn was a retry
}

// ring holds queues by turn and by deadline.
type ring struct {
	turns      list.List      // of *queue, the one served longest ago first
	byDeadline heapOf[*queue] // those of them that have waiters with a deadline
}

func newLane() *lane { return &lane{firsts: newRing(), retries: newRing()} }

func newRing() ring {
	return ring{byDeadline: newHeap(
		func(x, y *queue) bool { return sooner(x.dated.first(), y.dated.first()) },
		func(q *queue) *int { return &q.index },
	)}
}

// lane returns the lane with a number, 0 being the highest.
func (a *Admission) lane(number int) *lane {
	number = min(max(number, 0), maxLanes-1)
	for len(a.lanes) <= number {
		a.lanes = append(a.lanes, newLane())
	}
	return a.lanes[number]
}

// add puts q last in turn. Its sub-account may go, and it has waiters.
func (r *ring) add(q *queue) {
	q.turn = r.turns.PushBack(q)
	r.changed(q)
}

// remove takes q out, if it is in.
func (r *ring) remove(q *queue) {
	if q.turn != nil {
		r.byDeadline.remove(q)
		r.turns.Remove(q.turn)
		q.turn = nil
	}
}

// changed follows what came into q or left it.
func (r *ring) changed(q *queue) {
	switch {
	case q.turn == nil:
	case q.len() == 0:
		r.remove(q)
	case q.dated.len() == 0:
		r.byDeadline.remove(q)
	case r.byDeadline.has(q):
		r.byDeadline.moved(q)
	default:
		r.byDeadline.add(q)
	}
}

// front is the queue whose turn it is, nil if there is none.
func (r *ring) front() *queue {
	if e := r.turns.Front(); e != nil {
		return e.Value.(*queue)
	}
	return nil
}

// pressing is the queue with the nearest deadline if that is near, else nil.
func (r *ring) pressing(now time.Time) *queue {
	if q := r.byDeadline.first(); q != nil && q.dated.first().urgent(now) {
		return q
	}
	return nil
}

// has tells whether somebody may go; retry, whether that may be a retry.
func (l *lane) has(retry bool) bool {
	return l.firsts.turns.Len() > 0 || retry && l.retries.turns.Len() > 0
}

// next is the queue that goes next: the one with the nearest deadline if that
// is near, else the one whose turn it is, retries and first attempts in turn.
func (l *lane) next(now time.Time, retry bool) *queue {
	if !retry {
		return l.ofFirsts(now)
	}
	if l.urgent < turnShare-1 {
		f, r := l.firsts.pressing(now), l.retries.pressing(now)
		switch {
		case r != nil && (f == nil || sooner(r.dated.first(), f.dated.first())):
			return r
		case f != nil:
			return f
		}
	}
	if r := l.retries.front(); r != nil && (!l.retried || l.firsts.front() == nil) {
		return r
	}
	return l.firsts.front()
}

func (l *lane) ofFirsts(now time.Time) *queue {
	if q := l.firsts.pressing(now); q != nil && l.urgent < turnShare-1 {
		return q
	}
	return l.firsts.front()
}

// served notes that w is about to leave the lane.
func (l *lane) served(w *waiter, now time.Time) {
	l.passed = 0
	q := w.queue
	if q == q.ring.front() || !w.urgent(now) {
		l.urgent, l.retried = 0, w.ticket.Retry
	} else {
		l.urgent++
	}
	q.ring.turns.MoveToBack(q.turn)
}

// nextLane is the highest lane with somebody who may go, unless a lower one has
// been passed over long enough. It is nil if nobody may.
func (a *Admission) nextLane(retry bool) *lane {
	var next *lane
	for _, l := range a.lanes {
		switch {
		case !l.has(retry):
		case l.passed >= laneShare-1:
			return l
		case next == nil:
			next = l
		}
	}
	return next
}

// pass notes that a call of lane l goes out before those of the other lanes.
func (a *Admission) pass(l *lane, retry bool) {
	for _, other := range a.lanes {
		if other != l && other.has(retry) {
			other.passed++
		}
	}
}
