package admission

import (
	"cmp"
	"slices"
	"time"
)

// Snapshot is the state at one moment, for status pages.
type Snapshot struct {
	Concurrency int // calls at once, at most
	InFlight    int
	Waiting     Waiting
	Destination Door
	SubAccounts []SubAccountSnapshot
}

// SubAccountSnapshot is one sub-account that has waiters or calls, or whose
// state is not the usual one.
type SubAccountSnapshot struct {
	ID       string
	Waiting  int
	InFlight int
	Slots    int       // calls at once that its latency allows now
	Oldest   time.Time // arrival of the waiter that came first; zero without waiters
	Door
}

// Door is what lets calls out, of one sub-account or of all.
type Door struct {
	RateUsed    float64   // calls per second of late
	RateAllowed float64   // calls per second; 0 = no limit
	PausedUntil time.Time // by a Retry-After; zero when it is not
	Shut        Reason    // why only probes go out; empty when all may
	Detail      any       // what the API said
	Since       time.Time // when it was shut
	NextProbe   time.Time
}

// Waiting counts waiters by what their sub-account waits for first.
type Waiting struct {
	Hold    int // for a key that the API accepts
	Breaker int // for an API that is well
	Pause   int // for the end of a Retry-After pause
	Limit   int // for a token, its own or of the total
	Slot    int // for a concurrency slot
	Budget  int // for as many first attempts as allow for a retry
}

// Snapshot returns the state now, sub-accounts by id.
func (a *Admission) Snapshot() Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.forgetIdle(now)
	snap := Snapshot{
		Concurrency: a.concurrency,
		InFlight:    a.inFlight,
		Waiting:     a.waiting(now),
		Destination: a.door.describe(a.total, &a.used, now),
	}
	for _, s := range a.subs {
		if s.waiting > 0 || s.inFlight > 0 || !s.door.isOpen(now) || s.bucket.reduced(now) {
			snap.SubAccounts = append(snap.SubAccounts, SubAccountSnapshot{
				ID: s.id, Waiting: s.waiting, InFlight: s.inFlight, Slots: min(int(s.limiter.limit), a.concurrency), Oldest: s.oldest(), Door: s.door.describe(s.bucket, &s.used, now),
			})
		}
	}
	slices.SortFunc(snap.SubAccounts, func(x, y SubAccountSnapshot) int { return cmp.Compare(x.ID, y.ID) })
	return snap
}

func (d *door) describe(b *bucket, used *meter, now time.Time) Door {
	shown := Door{RateUsed: used.rate(now), RateAllowed: b.allowed(now)}
	if d.pausedUntil.After(now) {
		shown.PausedUntil = d.pausedUntil
	}
	if g := &d.gate; g.isShut() {
		shown.Shut, shown.Detail, shown.Since, shown.NextProbe = g.reason, g.detail, g.since, g.probeAt
	}
	return shown
}

func (s *subAccount) oldest() (oldest time.Time) {
	for _, w := range s.patience.items.all {
		oldest = earlier(oldest, w.ticket.Arrival)
	}
	return oldest
}

// Waiting counts the waiters now.
func (a *Admission) Waiting() Waiting {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting(time.Now())
}

func (a *Admission) waiting(now time.Time) Waiting {
	var w Waiting
	for _, s := range a.subs {
		for _, q := range s.queues {
			*w.of(a, q, now) += q.len()
		}
	}
	return w
}

// of is the count that the waiters of q belong to.
func (w *Waiting) of(a *Admission, q *queue, now time.Time) *int {
	s := q.sub
	switch {
	case s.door.gate.holds():
		return &w.Hold
	case s.door.gate.isShut() || a.door.gate.isShut():
		return &w.Breaker
	case !s.door.isOpen(now) || !a.door.isOpen(now):
		return &w.Pause
	case a.sleeping.has(s):
		return &w.Limit
	case a.inFlight >= a.concurrency || s.aside != roomy:
		return &w.Slot
	case q.ring == &q.lane.retries && a.budget.wait(now) > 0:
		return &w.Budget
	}
	return &w.Limit
}
