package schedule

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	shrinkRuns = 60          // of a plan that fails, at most
	shrinkTime = time.Minute // and so long, in real time
	again      = 2           // runs until a smaller plan counts as one that does not fail
)

// Shrink looks for a smaller plan that fails too: without some of the events,
// then without some of the requests. A run repeats only as far as goroutines
// take turns alike, so a plan that passes may still be one that can fail.
func Shrink(t *testing.T, p *Plan) (*Plan, *Result) {
	s := &shrink{t: t, plan: p, until: time.Now().Add(shrinkTime)}
	s.events()
	s.requests()
	s.events()
	return s.plan, s.result
}

type shrink struct {
	t      *testing.T
	plan   *Plan
	result *Result // of plan; nil while that is the one we began with
	runs   int
	until  time.Time
}

// events leaves out ever smaller parts of the events.
func (s *shrink) events() {
	for size := len(s.plan.Events) / 2; size >= 1; size /= 2 {
		for from := 0; from+size <= len(s.plan.Events); {
			smaller := *s.plan
			smaller.Events = slices.Delete(slices.Clone(smaller.Events), from, from+size)
			if !s.try(&smaller) {
				from += size
			}
		}
	}
}

func (s *shrink) requests() {
	for size := len(s.plan.Requests) / 2; size >= max(1, len(s.plan.Requests)/16); size /= 2 {
		for from := 0; from+size <= len(s.plan.Requests); {
			smaller := *s.plan
			smaller.Requests = slices.Delete(slices.Clone(smaller.Requests), from, from+size)
			if !s.try(&smaller) {
				from += size
			}
		}
	}
}

// try takes a smaller plan if it fails.
func (s *shrink) try(p *Plan) bool {
	for range again {
		if s.runs >= shrinkRuns || time.Now().After(s.until) {
			return false
		}
		s.runs++
		if r := Run(s.t, p); r.Failure != "" {
			s.plan, s.result = p, r
			return true
		}
	}
	return false
}

// Explain is the whole story of a failure: how to repeat it, what was planned,
// what happened, what is wrong, and the smallest plan that fails too.
func Explain(t *testing.T, p *Plan, r *Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d failed. It is repeated, as far as goroutines take turns alike, by\n\n\t%s\n\n%s\n", r.Seed, repeat(p.Seed), r.Failure)
	if Aloud != nil { // somebody listens
		fmt.Fprint(&b, p)
		return b.String()
	}
	smaller, found := Shrink(t, p)
	if found == nil {
		fmt.Fprintf(&b, "no smaller schedule failed\n%s", p)
		return b.String()
	}
	fmt.Fprintf(&b, "a smaller schedule fails too, with %d of %d events and %d of %d requests:\n%s\n%s", len(smaller.Events), len(p.Events),
		len(smaller.Requests), len(p.Requests), smaller, found.Failure)
	return b.String()
}

func repeat(seed uint64) string {
	return fmt.Sprintf("go test ./integration/schedule -run UnderRandomSchedules -seed=%d -schedules=1 -aloud", seed)
}

// String tells a plan in words.
func (p *Plan) String() string {
	var b strings.Builder
	s := p.Setting
	fmt.Fprintf(&b, "%d requests in %s to %d topics of %d partitions, %d outcome partitions, %d replicas; session timeout %s, attempt timeout %s, "+
		"drain timeout %s, dedupe window %s, window %d, concurrency %d, rate limit %g, retries %s to %s for %s, at most %d, Retry-After up to %s, hold of a key %s, lag %s\n",
		len(p.Requests), p.Length.Round(time.Second), s.Topics, s.Partitions, s.N, s.Replicas, s.SessionTimeout, s.AttemptTimeout, s.DrainTimeout,
		s.DedupeWindow, s.Window, s.Concurrency, s.RateLimit, s.RetryInitial, s.RetryMaxInterval, s.RetryMaxElapsed, s.RetryMaxAttempts, s.RetryAfterMax, s.AuthHold, s.Lag)
	for i := range p.Events {
		fmt.Fprintf(&b, "%10.3fs  %s\n", p.Events[i].At.Seconds(), &p.Events[i])
	}
	return b.String()
}
