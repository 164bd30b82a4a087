// Package admission decides when a call may go out. One scheduler takes a slot,
// a token of the sub-account and a token of the total together, at the moment
// of sending. It makes no calls and knows no requests; package worker asks it
// before every attempt.
package admission

import (
	"container/list"
	"context"
	"sync"
	"time"
)

const (
	defaultConcurrency   = 1024
	defaultRetryAfterMax = 5 * time.Minute
)

// Config sets the limits. Rates are calls per second; 0 means no limit.
type Config struct {
	Concurrency            int                // calls at once; 0 = 1024
	RatePerSubAccount      float64            // of every sub-account without an override
	RateTotal              float64            // of all sub-accounts together
	OverridesPerSubAccount map[string]float64 // rate by sub-account id
	RetryAfterMax          time.Duration      // longest pause from now on; 0 = 5 min
}

// Ticket asks for one call.
type Ticket struct {
	SubAccountID string
}

// Admission is the scheduler. Waiters of a sub-account are served in the order
// they came, sub-accounts in turn; one that is paused or lacks tokens blocks
// no other. It is safe for concurrent use and has no goroutine of its own.
type Admission struct {
	concurrency   int
	retryAfterMax time.Duration

	mu       sync.Mutex
	rates    rates
	total    *bucket
	inFlight int
	subs     map[string]*subAccount // those with waiters, calls, a pause or a bucket not full
	ready    list.List              // of *subAccount: have waiters, and may have a token; in turn
	sleeping wakeQueue              // have waiters, wait for a pause's end or a token
	idle     wakeQueue              // have neither waiters nor calls; forgotten when their time comes
	alarm    alarm
}

// New returns an Admission without waiters, all buckets full.
func New(cfg Config) *Admission {
	a := &Admission{
		concurrency:   cfg.Concurrency,
		retryAfterMax: cfg.RetryAfterMax,
		rates:         newRates(cfg.RatePerSubAccount, cfg.RateTotal, cfg.OverridesPerSubAccount),
		subs:          make(map[string]*subAccount),
	}
	if a.concurrency <= 0 {
		a.concurrency = defaultConcurrency
	}
	if a.retryAfterMax <= 0 {
		a.retryAfterMax = defaultRetryAfterMax
	}
	a.total = newBucket(a.rates.total)
	a.alarm.ring = a.wake
	return a
}

// Wait blocks until the ticket's call may go out. The caller must call Done on
// the pass when the call is over. The error is that of ctx; then nothing is
// taken, and of the pass only Paused holds.
func (a *Admission) Wait(ctx context.Context, t Ticket) (Pass, error) {
	if err := ctx.Err(); err != nil {
		return Pass{}, err
	}
	w, pass := a.enter(t.SubAccountID)
	if w == nil {
		return pass, nil
	}
	select {
	case <-w.admitted:
		return w.pass, nil
	case <-ctx.Done():
		return a.abandon(w), ctx.Err()
	}
}

// enter admits at once if nobody is ahead, else it queues a waiter.
func (a *Admission) enter(id string) (*waiter, Pass) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.forgetIdle(now)
	s := a.subAccount(id)
	if a.ready.Len() == 0 && s.waiters.Len() == 0 && !s.pause.active(now) && a.inFlight < a.concurrency {
		if ok, _ := a.takeTokens(s, now); ok {
			return nil, a.admit(s)
		}
	}
	w := &waiter{sub: s, pausedBefore: s.pause.total(now), admitted: make(chan struct{})}
	w.element = s.waiters.PushBack(w)
	if s.waiters.Len() == 1 {
		a.enqueue(s)
	}
	a.dispatch(now)
	return w, Pass{}
}

// abandon takes back a waiter whose context ended, and what it was given if
// that happened at the same instant.
func (a *Admission) abandon(w *waiter) Pass {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	s := w.sub
	paused := s.pause.total(now) - w.pausedBefore
	if w.pass.grant != nil {
		paused = w.pass.Paused
		a.total.refund(now)
		s.bucket.refund(now)
		a.release(w.pass.grant, now)
		return Pass{Paused: paused}
	}
	s.waiters.Remove(w.element)
	if s.waiters.Len() == 0 {
		a.dequeue(s)
		a.rest(s, now)
	}
	a.dispatch(now)
	return Pass{Paused: paused}
}

// Pause lets no call of the sub-account go out for d, at most RetryAfterMax.
// Of several pauses the one that ends last holds.
func (a *Admission) Pause(subAccountID string, d time.Duration) {
	if d <= 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.forgetIdle(now)
	s := a.subAccount(subAccountID)
	s.pause.extend(now, min(d, a.retryAfterMax))
	if s.waiters.Len() == 0 {
		a.rest(s, now)
		return
	}
	a.dequeue(s)
	a.sleep(s, s.pause.end)
	a.dispatch(now)
}

// SetRates replaces all rates, as in Config. Waiters are judged anew at once.
func (a *Admission) SetRates(perSubAccount, total float64, overrides map[string]float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.rates = newRates(perSubAccount, total, overrides)
	a.total = a.total.withRate(now, a.rates.total)
	for _, s := range a.subs {
		s.bucket = s.bucket.withRate(now, a.rates.of(s.id))
		if s.waiters.Len() == 0 {
			a.rest(s, now)
		}
	}
	for a.sleeping.Len() > 0 {
		a.enqueue(a.sleeping.pop())
	}
	a.dispatch(now)
}
