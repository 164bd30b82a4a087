// Package admission decides when a call may go out. One scheduler takes a slot,
// a token of the sub-account and a token of the total together, at the moment
// of sending. It makes no calls and knows no requests; package worker asks it
// before every attempt.
//
// # Who goes first
//
// A higher lane goes before a lower one; a lane with work gets one admission of
// 16 all the same. Within a lane a call whose deadline is less than a minute
// away goes before the others, the earliest deadline first, whatever its
// sub-account: such a call can come too late. Where no deadline is near,
// the sub-accounts take turns, and each sends first what is due first. Turns and
// not deadlines decide between sub-accounts there, because otherwise
// the backlog of one would stand before every request of another that is due
// later, and its trouble would be theirs. Even against near deadlines every
// fourth admission of a lane goes by turn.
//
// Only deadlines that requests name can be near. Requests without one are due
// 10 minutes after they were made, which orders them among the others; when that
// time is over nothing is lost, and a backlog of them must not keep a real
// deadline from being met.
//
// # Who does not go
//
// A sub-account that may not go stands in no lane until it may, and blocks
// nobody: for want of a token, because of a Retry-After, behind the gate of its breaker or
// of a refused key, or because it has as many calls in flight as its
// latency allows. One that has half of all slots leaves the last of them
// to the others. So trouble of one sub-account costs the others neither
// tokens nor slots.
//
// A gate that is shut lets single probes out; what waits behind it is charged
// for nothing. When it opens the rate begins with a tenth.
package admission

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

const (
	defaultConcurrency   = 1024
	defaultRetryAfterMax = 5 * time.Minute
	defaultSlowCall      = 5 * time.Second
)

// Config sets the limits. Rates are calls per second; 0 means no limit.
type Config struct {
	Concurrency            int                // calls at once; 0 = 1024
	RatePerSubAccount      float64            // of every sub-account without an override
	RateTotal              float64            // of all sub-accounts together
	OverridesPerSubAccount map[string]float64 // rate by sub-account id
	RetryAfterMax          time.Duration      // longest pause from now on; 0 = 5 min
	SlowCall               time.Duration      // a call that takes so long is as bad as a failed one; 0 = 5 s
	Changed                func(Change)       // told of gates that are shut or opened; must not block; may be nil
}

// Ticket asks for one call.
type Ticket struct {
	SubAccountID string
	Lane         int       // 0 goes first
	Due          time.Time // who is due first goes first
	Dated        bool      // Due is a deadline, after which the call is useless; else it only orders
	Arrival      time.Time // decides between those that are due at once; no two messages share one
	Retry        bool      // an attempt for this message was made before

	// HoldFor is how long the call may wait behind a hold of its key. Then Wait
	// returns a HeldError.
	HoldFor time.Duration
}

// Admission is the scheduler. It is safe for concurrent use and has no
// goroutine of its own.
type Admission struct {
	concurrency   int
	retryAfterMax time.Duration
	slowCall      time.Duration
	tell          func(Change)

	mu       sync.Mutex
	rates    rates
	total    *bucket
	budget   budget
	door     door // of the destination
	used     meter
	inFlight int
	entered  uint64                 // waiters so far
	subs     map[string]*subAccount // those with waiters, calls, a pause or a bucket not full
	lanes    []*lane                // queues of the sub-accounts that may go
	sleeping heapOf[*subAccount]    // have waiters, wait for a pause's end or a token
	aside    []*subAccount          // have waiters and half of the slots, wait for the end of a call
	idle     heapOf[*subAccount]    // have neither waiters nor calls; forgotten when their time comes
	alarm    alarm

	row     int // failures of calls since the last success, see failedIn
	rowSub  string
	several bool
	fineAt  time.Time
	changes []Change // to be told when the lock is free
}

// New returns an Admission without waiters, all buckets full.
func New(cfg Config) *Admission {
	a := &Admission{
		concurrency:   cmp.Or(max(cfg.Concurrency, 0), defaultConcurrency),
		retryAfterMax: cmp.Or(max(cfg.RetryAfterMax, 0), defaultRetryAfterMax),
		slowCall:      cmp.Or(max(cfg.SlowCall, 0), defaultSlowCall),
		tell:          cfg.Changed,
		rates:         newRates(cfg.RatePerSubAccount, cfg.RateTotal, cfg.OverridesPerSubAccount, 1),
		subs:          make(map[string]*subAccount),
		sleeping:      newHeap(wakesSooner, subAccountIndex),
		idle:          newHeap(wakesSooner, subAccountIndex),
	}
	a.total = newBucket(a.rates.own(a.rates.total))
	a.alarm.ring = a.wake
	return a
}

// Wait blocks until the ticket's call may go out. The caller must call Done on
// the pass when the call is over. The error is that of ctx, or a HeldError; then nothing is
// taken, and of the pass only Paused and Held count.
func (a *Admission) Wait(ctx context.Context, t Ticket) (Pass, error) {
	if err := ctx.Err(); err != nil {
		return Pass{}, err
	}
	w, pass := a.enter(t)
	if w == nil {
		return pass, nil
	}
	select {
	case <-w.admitted:
		return w.pass, w.refused
	case <-ctx.Done():
		return a.abandon(w), ctx.Err()
	}
}

// enter admits at once if nobody is ahead, else it queues a waiter.
func (a *Admission) enter(t Ticket) (*waiter, Pass) {
	a.mu.Lock()
	defer a.unlock()
	now := time.Now()
	a.forgetIdle(now)
	s := a.subAccount(t.SubAccountID)
	if a.mayGo(s, t, now) {
		if ok, _ := a.takeTokens(s, now); ok {
			return nil, Pass{grant: a.admit(s, t, now)}
		}
	}
	a.entered++
	w := &waiter{ticket: t, entered: a.entered, index: -1, placed: -1, admitted: make(chan struct{})}
	a.join(s, w, now)
	a.dispatch(now)
	return w, Pass{}
}

// mayGo tells whether a call may go ahead without waiting, but for a token.
func (a *Admission) mayGo(s *subAccount, t Ticket, now time.Time) bool {
	retry := a.budget.wait(now) == 0
	return s.waiting == 0 && a.inFlight < a.concurrency && (retry || !t.Retry) && a.nextLane(retry) == nil &&
		s.door.isOpen(now) && a.door.isOpen(now) && a.crowded(s) == roomy
}

// abandon takes back a waiter whose context ended, and what it was given if
// that happened at the same instant.
func (a *Admission) abandon(w *waiter) Pass {
	a.mu.Lock()
	defer a.unlock()
	now := time.Now()
	s := w.queue.sub
	switch {
	case w.pass.grant != nil:
		w.pass.grant.done = true
		a.conclude(w.pass.grant, Result{Kind: NotSent}, now)
		a.release(s, now)
		w.pass.grant = nil
	case w.refused == nil:
		a.leave(w)
		w.pass = a.waited(w, now)
		if s.waiting == 0 {
			a.sleeping.remove(s)
			a.rest(s, now)
		}
		a.dispatch(now)
	}
	return w.pass
}

// unlock tells what has changed, once the lock is free.
func (a *Admission) unlock() {
	changes := a.changes
	a.changes = nil
	a.mu.Unlock()
	for _, c := range changes {
		if a.tell != nil {
			a.tell(c)
		}
	}
}

// SetRates replaces all rates, as in Config. Waiters are judged anew at once.
func (a *Admission) SetRates(perSubAccount, total float64, overrides map[string]float64) {
	a.mu.Lock()
	defer a.unlock()
	a.setRates(newRates(perSubAccount, total, overrides, a.rates.share))
}

// SetShare tells which part of all partitions is in this process's hands, from 0
// to 1; it is 1 at first. The process keeps to that part of every rate, so that all
// processes together keep to the rates: whoever gives a partition away tells so
// before the next owner has it.
func (a *Admission) SetShare(share float64) {
	a.mu.Lock()
	defer a.unlock()
	rates := a.rates
	if rates.share = min(max(share, 0), 1); rates.share != a.rates.share {
		a.setRates(rates)
	}
}

func (a *Admission) setRates(r rates) {
	now := time.Now()
	a.rates = r
	a.total = a.total.withRate(now, r.own(r.total))
	for _, s := range a.subs {
		s.bucket = s.bucket.withRate(now, r.of(s.id))
		if s.waiting == 0 {
			a.rest(s, now)
		}
	}
	for _, s := range slices.Clone(a.sleeping.items.all) {
		a.stand(s, now) // it may have slept for a token
	}
	a.dispatch(now)
}
