package admission

import "time"

// subAccount is the state of one sub-account. It lives as long as it matters:
// see rest.
type subAccount struct {
	id       string
	bucket   *bucket
	used     meter
	door     door
	health   health
	limiter  limiter
	aside    crowd // why it stands aside until a call ends
	stopped  stoppage
	queues   []*queue        // one for each ring in which it has had waiters
	patience heapOf[*waiter] // all waiters, by how much longer a hold may keep them
	waiting  int
	inFlight int

	wakeAt time.Time // in Admission.sleeping or .idle
	index  int       // -1 = in neither
}

func wakesSooner(x, y *subAccount) bool  { return x.wakeAt.Before(y.wakeAt) }
func subAccountIndex(s *subAccount) *int { return &s.index }

// queue returns the queue in a lane, made if need be.
func (s *subAccount) queue(l *lane, retry bool) *queue {
	r := &l.firsts
	if retry {
		r = &l.retries
	}
	for _, q := range s.queues {
		if q.ring == r {
			return q
		}
	}
	q := newQueue(s, l, r)
	s.queues = append(s.queues, q)
	return q
}

// subAccount returns the state of a sub-account, made if need be.
func (a *Admission) subAccount(id string) *subAccount {
	s, ok := a.subs[id]
	if !ok {
		s = &subAccount{id: id, bucket: newBucket(a.rates.of(id)), stopped: stoppage{at: time.Now()}, limiter: newLimiter(firstLimit), index: -1}
		s.patience = newHeap(lessPatient, patienceIndex)
		a.subs[id] = s
	}
	return s
}

// rest forgets a sub-account without waiters and calls, or lets it stay idle
// for as long as its state differs from that of a new one. Ids come with the
// requests, so their number knows no bound.
func (a *Admission) rest(s *subAccount, now time.Time) {
	if s.waiting > 0 || s.inFlight > 0 {
		return
	}
	a.idle.remove(s)
	until := s.bucket.fullAt(now)
	until = later(until, s.door.pausedUntil)
	if s.health.row > 0 || s.health.failing > weight || s.health.slow > weight {
		until = later(until, s.health.at.Add(memory))
	}
	if s.door.gate.isShut() {
		until = later(until, s.door.gate.probeAt.Add(memory))
	}
	if until.After(now) {
		s.wakeAt = until
		a.idle.add(s)
		return
	}
	delete(a.subs, s.id)
}

// forgetIdle drops what rest has left behind.
func (a *Admission) forgetIdle(now time.Time) {
	for a.idle.len() > 0 && !a.idle.first().wakeAt.After(now) {
		delete(a.subs, a.idle.pop().id)
	}
}
