// Package policy is what the operator holds back while the worker runs: what is
// paused, and campaigns that are withdrawn. It makes no calls, ends none that is
// under way, and reads no file. Package worker asks it right before every call
// and waits with it; cmd/smscancel sets the rules.
package policy

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// What the rules say of a request that may not be called.
var (
	ErrPaused    = errors.New("paused by the operator")
	ErrWithdrawn = errors.New("campaign withdrawn by the operator")
)

// errChanged ends a watch.
var errChanged = errors.New("the operator's rules have changed")

// Subject is what the rules look at in a request.
type Subject struct {
	SubAccountID string
	CampaignID   string // empty = of no campaign
}

// Policy is the rules in force. It is safe for concurrent use; the zero value,
// and nil, hold nothing back.
type Policy struct {
	rules atomic.Pointer[ruleSet] // nil = none

	mu      sync.Mutex
	watches map[*watch]struct{}
	waiting map[string]int // requests behind a pause now, by sub-account
}

// watch is one wait that must end when the rules say something else.
type watch struct {
	subject Subject
	seen    error
	cancel  context.CancelCauseFunc
}

// Set puts other rules in force. Once it returns no call starts that they hold
// back, and whoever waits and is judged differently now has been woken.
func (p *Policy) Set(r Rules) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := newRuleSet(r, p.rules.Load(), time.Now())
	p.rules.Store(next)
	for w := range p.watches {
		if next.judge(w.subject) != w.seen {
			w.cancel(errChanged)
		}
	}
}

// Judge says whether a call may start now: nil, ErrPaused or ErrWithdrawn.
func (p *Policy) Judge(s Subject) error {
	if p == nil {
		return nil
	}
	return p.rules.Load().judge(s)
}

// Watch returns the judgement on a request, and a context that ends when that is
// no longer true; Changed tells that from the end of ctx. The caller must call stop
// in any case.
func (p *Policy) Watch(ctx context.Context, s Subject) (watched context.Context, stop func(), judgement error) {
	if p == nil {
		return ctx, func() {}, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &watch{subject: s, seen: p.rules.Load().judge(s)}
	watched, w.cancel = context.WithCancelCause(ctx)
	if p.watches == nil {
		p.watches = map[*watch]struct{}{}
	}
	p.watches[w] = struct{}{}
	return watched, func() { p.forget(w) }, w.seen
}

// Changed tells whether a watched context ended because of the rules.
func Changed(watched context.Context) bool { return context.Cause(watched) == errChanged }

func (p *Policy) forget(w *watch) {
	p.mu.Lock()
	delete(p.watches, w)
	p.mu.Unlock()
	w.cancel(nil)
}

// Wait blocks while the request is paused, and says for how long it did. The
// error is ErrWithdrawn, or that of ctx.
func (p *Policy) Wait(ctx context.Context, s Subject) (paused time.Duration, err error) {
	if err := p.Judge(s); err != ErrPaused {
		return 0, err
	}
	p.count(s, +1)
	defer p.count(s, -1)
	began := time.Now()
	for {
		watched, stop, judgement := p.Watch(ctx, s)
		if judgement == ErrPaused {
			<-watched.Done()
		}
		changed := Changed(watched)
		stop()
		if judgement != ErrPaused {
			return time.Since(began), judgement
		}
		if !changed {
			return time.Since(began), ctx.Err()
		}
	}
}

func (p *Policy) count(s Subject, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == nil {
		p.waiting = map[string]int{}
	}
	if p.waiting[s.SubAccountID] += n; p.waiting[s.SubAccountID] == 0 {
		delete(p.waiting, s.SubAccountID)
	}
}
