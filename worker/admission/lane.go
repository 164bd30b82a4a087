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

// lane holds the queues of the sub-accounts that may go, as far as is known.
type lane struct {
	turns      list.List      // of *queue, the one served longest ago first
	byDeadline heapOf[*queue] // those of them that have waiters with a deadline
	passed     int            // admissions of other lanes since its own last one
	urgent     int            // admissions by deadline since the last one by turn
}

func newLane() *lane {
	return &lane{byDeadline: newHeap(
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
func (l *lane) add(q *queue) {
	q.turn = l.turns.PushBack(q)
	l.changed(q)
}

// remove takes q out, if it is in.
func (l *lane) remove(q *queue) {
	if q.turn != nil {
		l.byDeadline.remove(q)
		l.turns.Remove(q.turn)
		q.turn = nil
	}
}

// changed follows what came into q or left it.
func (l *lane) changed(q *queue) {
	switch {
	case q.turn == nil:
	case q.len() == 0:
		l.remove(q)
	case q.dated.len() == 0:
		l.byDeadline.remove(q)
	case l.byDeadline.has(q):
		l.byDeadline.moved(q)
	default:
		l.byDeadline.add(q)
	}
}

// next is the queue that goes next: the one with the nearest deadline if that
// is near, else the one whose turn it is.
func (l *lane) next(now time.Time) *queue {
	if q := l.byDeadline.first(); q != nil && q.dated.first().urgent(now) && l.urgent < turnShare-1 {
		return q
	}
	return l.turns.Front().Value.(*queue)
}

// served notes that w is about to leave the lane.
func (l *lane) served(w *waiter, now time.Time) {
	l.passed = 0
	q := w.queue
	if q == l.turns.Front().Value.(*queue) || !w.urgent(now) {
		l.urgent = 0
	} else {
		l.urgent++
	}
	l.turns.MoveToBack(q.turn)
}

// nextLane is the highest lane with somebody who may go, unless a lower one has
// been passed over long enough. It is nil if nobody may.
func (a *Admission) nextLane() *lane {
	var next *lane
	for _, l := range a.lanes {
		switch {
		case l.turns.Len() == 0:
		case l.passed >= laneShare-1:
			return l
		case next == nil:
			next = l
		}
	}
	return next
}

// pass notes that a call of lane l goes out before those of the other lanes.
func (a *Admission) pass(l *lane) {
	for _, other := range a.lanes {
		if other != l && other.turns.Len() > 0 {
			other.passed++
		}
	}
}
