package admission

import (
	"container/list"
	"time"
)

// urgentWithin is how near a deadline must be to go before the turns of the
// sub-accounts. It is far below the 10 minutes that requests without one count
// with, or else every request would be urgent and there would be no turns.
const urgentWithin = time.Minute

// waiter is one blocked Wait.
type waiter struct {
	ticket   Ticket
	entered  uint64 // the order among equals
	queue    *queue
	index    int           // in queue.dated or queue.undated
	before   stoppage      // of the sub-account, when it came
	patience time.Duration // it goes when the sub-account has been held for so long
	placed   int           // in subAccount.patience
	admitted chan struct{} // closed once pass or refused is set
	pass     Pass
	refused  error
}

// sooner orders the waiters of a queue.
func sooner(x, y *waiter) bool {
	if c := x.ticket.Due.Compare(y.ticket.Due); c != 0 {
		return c < 0
	}
	if c := x.ticket.Arrival.Compare(y.ticket.Arrival); c != 0 {
		return c < 0
	}
	return x.entered < y.entered
}

// queue holds the waiters of one sub-account in one ring, those with a deadline
// apart from those without: what is due by convention only cannot come too late.
type queue struct {
	sub     *subAccount
	lane    *lane
	ring    *ring // of lane: for first attempts, or for retries
	dated   heapOf[*waiter]
	undated heapOf[*waiter]

	turn  *list.Element // in ring.turns; nil while the sub-account may not go, or without waiters
	index int           // in ring.byDeadline
}

func newQueue(s *subAccount, l *lane, r *ring) *queue {
	return &queue{sub: s, lane: l, ring: r, index: -1, dated: newHeap(sooner, waiterIndex), undated: newHeap(sooner, waiterIndex)}
}

func lessPatient(x, y *waiter) bool { return x.patience < y.patience }
func patienceIndex(w *waiter) *int  { return &w.placed }

func waiterIndex(w *waiter) *int { return &w.index }

func (q *queue) len() int { return q.dated.len() + q.undated.len() }

func (q *queue) add(w *waiter) {
	w.queue = q
	if w.ticket.Dated {
		q.dated.add(w)
	} else {
		q.undated.add(w)
	}
	q.ring.changed(q)
}

func (q *queue) remove(w *waiter) {
	q.dated.remove(w)
	q.undated.remove(w)
	q.ring.changed(q)
}

// first is the waiter that goes next: one whose deadline is near, else the one
// that is due first.
func (q *queue) first(now time.Time) *waiter {
	d, u := q.dated.first(), q.undated.first()
	if u == nil || d != nil && (d.urgent(now) || sooner(d, u)) {
		return d
	}
	return u
}

func (w *waiter) urgent(now time.Time) bool {
	return w.ticket.Dated && w.ticket.Due.Sub(now) <= urgentWithin
}
