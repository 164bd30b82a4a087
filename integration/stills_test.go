package integration

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"
)

// stills are the times in which this process, and so the simulator, had no CPU.
type stills struct {
	mu  sync.Mutex
	all []still
}

type still struct{ from, to time.Time }

const (
	stillBeat = 5 * time.Millisecond
	stillFrom = 25 * time.Millisecond // what takes so long is no mere jitter
)

// watch takes note until the test ends.
func (s *stills) watch(t testing.TB) {
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		beat := time.NewTicker(stillBeat)
		defer beat.Stop()
		for last := time.Now(); ctx.Err() == nil; {
			<-beat.C
			now := time.Now()
			if now.Sub(last) > stillFrom {
				s.mu.Lock()
				s.all = append(s.all, still{last, now})
				s.mu.Unlock()
			}
			last = now
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
}

// between is for how long it stood still in a span.
func (s *stills) between(from, to time.Time) (sum time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.all, from, func(x still, at time.Time) int { return x.to.Compare(at) })
	for ; i < len(s.all) && s.all[i].from.Before(to); i++ {
		sum += min(s.all[i].to.Sub(s.all[i].from), s.all[i].to.Sub(from), to.Sub(s.all[i].from), to.Sub(from))
	}
	return sum
}
