package admission

import (
	"context"
	"time"
)

// Pass is the permission for one call. Copies are the same permission; the
// zero value is none.
type Pass struct {
	// Paused is how long the wait stood behind a Retry-After pause, a breaker or a
	// hold. It is not charged to the message's retry clock.
	Paused time.Duration
	// Held is the part of it behind a hold, which Ticket.HoldFor limits.
	Held time.Duration

	grant *grant
}

// grant is the slot behind a pass.
type grant struct {
	admission *Admission
	sub       *subAccount
	sent      time.Time
	arrival   time.Time
	retry     bool
	probe     bool // of the sub-account
	probesAll bool // of the destination
	done      bool
}

// Result is how a call ended, as far as it concerns the calls after it.
type Result struct {
	Kind       Kind
	RetryAfter time.Duration // pause that the API asked for; 0 = none
	Detail     any           // what the API said, for Change and HeldError
}

// Kind says what a call's end tells about the API.
type Kind int

const (
	NotSent   Kind = iota // there was no call: its tokens are given back
	CutOff                // ended by ourselves, which tells nothing
	Answered              // the API answered, be it a refusal
	Failed                // no answer of the API, or one that it is not well
	Throttled             // the API wants fewer calls
	BadKey                // the API refuses the key, or there is none
	Upgrade               // the API wants another TLS version
)

// Stands tells whether the call may still go out. It may not if meanwhile a pause
// began, or a gate was shut of which it is no probe.
func (p Pass) Stands() bool {
	if p.grant == nil {
		return false
	}
	a := p.grant.admission
	a.mu.Lock()
	defer a.unlock()
	return a.stands(p.grant, time.Now())
}

// Confirm is Stands for a call that has been on its way to its first byte. Where that
// took long it waits for another token: of the one that it has the time is over,
// and many such calls go out at once when what held them up gives way.
func (p Pass) Confirm(ctx context.Context) bool {
	d, ok := p.again()
	if !ok || d == 0 {
		return ok
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return p.Stands()
	case <-ctx.Done():
		return false
	}
}

const (
	fresh   = time.Second / burstShare // a token is good for so long; the burst covers it
	longest = time.Second              // a longer wait is for the queue
)

// again takes another token if the first is too old, and tells how long that takes.
func (p Pass) again() (d time.Duration, ok bool) {
	if p.grant == nil {
		return 0, false
	}
	a, g := p.grant.admission, p.grant
	a.mu.Lock()
	defer a.unlock()
	now := time.Now()
	switch {
	case !a.stands(g, now):
		return 0, false
	case now.Sub(g.sent) <= fresh:
		return 0, true
	}
	own, d := g.sub.bucket.reserve(now)
	total, later := a.total.reserve(now)
	if d = max(d, later); d > longest {
		own.CancelAt(now)
		total.CancelAt(now)
		return 0, false
	}
	return d, true
}

func (a *Admission) stands(g *grant, now time.Time) bool {
	return g.sub.door.lets(g.probe, now) && a.door.lets(g.probesAll, now)
}

// Done gives the slot back and tells how the call ended. Only the first counts.
// It returns whether only probes go out now: then to wait again is as good as any
// backoff.
func (p Pass) Done(r Result) (shut bool) {
	if p.grant == nil {
		return false
	}
	a, s := p.grant.admission, p.grant.sub
	a.mu.Lock()
	defer a.unlock()
	if p.grant.done {
		return false
	}
	p.grant.done = true
	now := time.Now()
	a.conclude(p.grant, r, now)
	shut = s.door.gate.isShut() || a.door.gate.isShut()
	a.release(s, now)
	return shut
}
