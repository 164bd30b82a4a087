package admission

import "time"

// Pass is the permission for one call. Copies are the same permission; the
// zero value is none.
type Pass struct {
	// Paused is how long the wait stood behind a Retry-After pause. It is not
	// charged to the message's retry clock.
	Paused time.Duration

	grant *grant
}

// grant is the slot behind a pass.
type grant struct {
	admission *Admission
	sub       *subAccount
	sent      time.Time
	retry     bool
	done      bool
}

// Result is how a call ended, as far as it concerns the calls after it.
type Result struct {
	Kind       Kind
	RetryAfter time.Duration // pause that the API asked for; 0 = none
}

// Kind says what a call's end tells about the API.
type Kind int

const (
	NotSent   Kind = iota // there was no call: its tokens are given back
	CutOff                // ended by ourselves, which tells nothing
	Answered              // the API answered, be it a refusal
	Failed                // no answer of the API, or one that it is not well
	Throttled             // the API wants fewer calls
)

// Done gives the slot back and tells how the call ended. Only the first counts.
func (p Pass) Done(r Result) {
	if p.grant == nil {
		return
	}
	a := p.grant.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.grant.done {
		return
	}
	p.grant.done = true
	now := time.Now()
	a.conclude(p.grant, r, now)
	a.release(p.grant.sub, now)
}

// conclude draws the consequences of a call.
func (a *Admission) conclude(g *grant, r Result, now time.Time) {
	s := g.sub
	switch r.Kind {
	case NotSent:
		a.total.refund(now)
		s.bucket.refund(now)
		a.budget.refund(g.retry)
	case Throttled:
		s.bucket.throttle(now, g.sent, s.used.rate(now))
	}
	if r.RetryAfter > 0 {
		a.pause(s, r.RetryAfter, now)
	}
}
