package admission

import "time"

// reserve is the part of the slots that a sub-account which has half of them
// leaves to the others. So one whose calls take long, or hang, never has them all,
// and one that is alone can have nearly all.
const reserve = 16

// crowd is why a sub-account may not have another slot.
type crowd int

const (
	roomy    crowd = iota
	byItself       // as many calls as it may are in flight: it goes on when one ends
	byOthers       // it has half of all slots: it goes on when any call ends
)

// crowded tells whether s may have another slot. There is a free one.
func (a *Admission) crowded(s *subAccount) crowd {
	switch {
	case !s.limiter.allows(s.inFlight):
		return byItself
	case 2*s.inFlight >= a.concurrency && a.concurrency-a.inFlight <= (a.concurrency+reserve/2)/reserve:
		return byOthers
	}
	return roomy
}

// stepAside takes s out of the lanes until a call ends.
func (a *Admission) stepAside(s *subAccount, why crowd) {
	for _, q := range s.queues {
		q.ring.remove(q)
	}
	s.aside = why
	if why == byOthers {
		a.aside = append(a.aside, s)
	}
}

// comeBack lets those stand again to whom the end of a call of s gives room.
func (a *Admission) comeBack(s *subAccount, now time.Time) {
	if s.aside != roomy {
		a.stand(s, now)
	}
	for _, other := range a.aside {
		if other.aside == byOthers {
			a.stand(other, now)
		}
	}
	a.aside = a.aside[:0]
}
