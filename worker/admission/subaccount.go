package admission

import "time"

// subAccount is the state of one sub-account. It lives as long as it matters:
// see rest.
type subAccount struct {
	id       string
	bucket   *bucket
	used     meter
	pause    pause
	queues   []*queue // one for each lane in which it has had waiters
	waiting  int
	inFlight int

	wakeAt time.Time // in Admission.sleeping or .idle
	index  int       // -1 = in neither
}

func wakesSooner(x, y *subAccount) bool  { return x.wakeAt.Before(y.wakeAt) }
func subAccountIndex(s *subAccount) *int { return &s.index }

// queue returns the queue in a lane, made if need be.
func (s *subAccount) queue(l *lane) *queue {
	for _, q := range s.queues {
		if q.lane == l {
			return q
		}
	}
	q := newQueue(s, l)
	s.queues = append(s.queues, q)
	return q
}

// subAccount returns the state of a sub-account, made if need be.
func (a *Admission) subAccount(id string) *subAccount {
	s, ok := a.subs[id]
	if !ok {
		s = &subAccount{id: id, bucket: newBucket(a.rates.of(id)), index: -1}
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
	if s.pause.end.After(until) {
		until = s.pause.end
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

// pause is a span of time without calls, and how long all such spans were.
type pause struct {
	start, end time.Time // the present or last one
	before     time.Duration
}

func (p *pause) active(now time.Time) bool { return now.Before(p.end) }

// extend pauses from now for at least d.
func (p *pause) extend(now time.Time, d time.Duration) {
	p.before = p.total(now)
	p.start = now
	if end := now.Add(d); end.After(p.end) {
		p.end = end
	}
}

// total is the time paused until now. The difference of two readings is the
// pause between them.
func (p *pause) total(now time.Time) time.Duration {
	if p.active(now) {
		return p.before + now.Sub(p.start)
	}
	return p.before + max(p.end.Sub(p.start), 0)
}
