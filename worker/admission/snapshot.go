package admission

import (
	"cmp"
	"slices"
	"time"
)

// Snapshot is the state at one moment, for status pages.
type Snapshot struct {
	Concurrency int                  `json:"concurrency"`
	InFlight    int                  `json:"inFlight"`
	Waiting     Waiting              `json:"waiting"`
	RateTotal   float64              `json:"rateTotal"` // calls per second; 0 = no limit
	SubAccounts []SubAccountSnapshot `json:"subAccounts"`
}

// SubAccountSnapshot is one sub-account that has waiters, calls or a pause.
type SubAccountSnapshot struct {
	ID          string    `json:"subAccountId"`
	Waiting     int       `json:"waiting"`
	InFlight    int       `json:"inFlight"`
	PausedUntil time.Time `json:"pausedUntil,omitzero"` // zero when not paused
	Rate        float64   `json:"rate"`                 // calls per second; 0 = no limit
}

// Waiting counts waiters by what their sub-account waits for first.
type Waiting struct {
	Pause  int `json:"pause"`  // the end of a Retry-After pause
	Limit  int `json:"limit"`  // a token, its own or of the total
	Slot   int `json:"slot"`   // a concurrency slot
	Budget int `json:"budget"` // a retry that the first attempts allow for
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
		RateTotal:   a.total.allowed(now),
		SubAccounts: []SubAccountSnapshot{},
	}
	for _, s := range a.subs {
		if s.waiting > 0 || s.inFlight > 0 || s.door.pausedUntil.After(now) || s.bucket.reduced(now) {
			snap.SubAccounts = append(snap.SubAccounts, a.describe(s, now))
		}
	}
	slices.SortFunc(snap.SubAccounts, func(x, y SubAccountSnapshot) int { return cmp.Compare(x.ID, y.ID) })
	return snap
}

func (a *Admission) describe(s *subAccount, now time.Time) SubAccountSnapshot {
	d := SubAccountSnapshot{ID: s.id, Waiting: s.waiting, InFlight: s.inFlight, Rate: s.bucket.allowed(now)}
	if s.door.pausedUntil.After(now) {
		d.PausedUntil = s.door.pausedUntil
	}
	return d
}

// Waiting counts the waiters now.
func (a *Admission) Waiting() Waiting {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting(time.Now())
}

func (a *Admission) waiting(now time.Time) Waiting {
	var w Waiting
	budget := a.budget.wait(now) == 0
	for _, s := range a.subs {
		for _, q := range s.queues {
			switch n := q.len(); {
			case s.door.opensAt(now).After(now) || a.door.opensAt(now).After(now):
				w.Pause += n
			case a.sleeping.has(s):
				w.Limit += n
			case a.inFlight >= a.concurrency:
				w.Slot += n
			case q.ring == &q.lane.retries && !budget:
				w.Budget += n
			default:
				w.Limit += n
			}
		}
	}
	return w
}
