package admission

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func percentile(took []time.Duration, p int) time.Duration {
	slices.Sort(took)
	return took[len(took)*p/100]
}

// around is a latency that varies by half of it either way.
func around(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// Fault: one sub-account of two, with a backlog without end, gets 429s, or 503s,
// or answers that take 100 times as long, or none. Promise: the latency of the other,
// with the same load, changes by less than 20 % at the 99th percentile. Both share
// the limit of the destination and the slots.
func TestASubAccountInTroubleDoesNotSlowAnother(t *testing.T) {
	t.Parallel()
	const latency = 40 * time.Millisecond
	measure := func(t *testing.T, trouble func() (time.Duration, Result)) (p99 time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, Config{RatePerSubAccount: 1800, RateTotal: 3000})
			well := func() (time.Duration, Result) { return around(latency), answered }
			sick := false
			w.set(func(sub string) (time.Duration, Result) {
				if sub == "a" && sick {
					return trouble()
				}
				return well()
			})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			w.backlog(ctx, &wg, "a", 5000)
			elapse(2 * time.Second)
			w.mu.Lock()
			sick = true
			w.mu.Unlock()
			load, stop := context.WithTimeout(t.Context(), 10*time.Second)
			defer stop()
			p99 = percentile(w.arrivals(load, "b", 300), 99)
			cancel()
			wg.Wait()
		})
		return p99
	}
	before := measure(t, func() (time.Duration, Result) { return around(latency), answered })
	for name, trouble := range map[string]func() (time.Duration, Result){
		"429 with Retry-After": func() (time.Duration, Result) {
			return around(latency), Result{Kind: Throttled, RetryAfter: time.Second}
		},
		"429":              func() (time.Duration, Result) { return around(latency), Result{Kind: Throttled} },
		"503":              func() (time.Duration, Result) { return around(latency), Result{Kind: Failed} },
		"100 times slower": func() (time.Duration, Result) { return around(100 * latency), answered },
		"hangs":            func() (time.Duration, Result) { return 10 * time.Second, Result{Kind: Failed} },
		"bad key":          func() (time.Duration, Result) { return around(latency), Result{Kind: BadKey} },
	} {
		t.Run(name, func(t *testing.T) {
			if after := measure(t, trouble); after > before*12/10 {
				t.Errorf("p99 of the other sub-account is %v, and was %v", after, before)
			} else {
				t.Logf("p99 %v, was %v", after, before)
			}
		})
	}
}

// Promise: with the default cap of 1,024 and an API that takes 300 ms the limit of
// 3,000 calls per second is reached, five seconds after the start, by one sub-account
// that may have it all and by several.
func TestALongLatencyDoesNotKeepTheLimitFromBeingUsed(t *testing.T) {
	t.Parallel()
	for _, subs := range []int{1, 2, 30} {
		t.Run(fmt.Sprint(subs), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, Config{RatePerSubAccount: 3000, RateTotal: 3000})
				w.set(func(string) (time.Duration, Result) { return around(300 * time.Millisecond), answered })
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for i := range subs {
					w.backlog(ctx, &wg, fmt.Sprint(i), 6000/subs)
				}
				elapse(8 * time.Second)
				now := time.Now()
				if got := w.rate("", now.Add(-3*time.Second), now); got < 0.95*3000 {
					t.Errorf("%v calls per second", got)
				} else {
					t.Logf("%v calls per second", got)
				}
				cancel()
				wg.Wait()
			})
		})
	}
}

// Promise: nobody has to tune --concurrency for an API that answers in 20 ms
// today and in 2 s tomorrow: ten seconds and twenty round trips later the slots are in use.
func TestTheSlotsFollowALatencyThatChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, Config{RatePerSubAccount: 1800})
		w.set(func(string) (time.Duration, Result) { return around(20 * time.Millisecond), answered })
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		w.backlog(ctx, &wg, "a", 3000)
		for _, latency := range []time.Duration{20 * time.Millisecond, 2 * time.Second, 20 * time.Millisecond, 300 * time.Millisecond} {
			w.set(func(string) (time.Duration, Result) { return around(latency), answered })
			elapse(10*time.Second + 20*latency)
			now := time.Now()
			want := min(1800, 960/latency.Seconds())
			if got := w.rate("a", now.Add(-5*time.Second), now); got < 0.9*want {
				t.Errorf("at %v: %v calls per second, %v are possible", latency, got, want)
			} else {
				t.Logf("at %v: %v calls per second of %v", latency, got, want)
			}
		}
		cancel()
		wg.Wait()
	})
}

// Fault: the API works on 500 calls a second, 20 ms each, and queues the rest.
// Promise: its capacity is used, and its queue does not grow to what --concurrency
// would let in, which would be two seconds.
func TestTheSlotsFollowAnAPIThatQueues(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const capacity = 500
		w := newWorld(t, Config{RatePerSubAccount: 1800})
		free := time.Now()
		w.set(func(string) (time.Duration, Result) {
			free = later(free, time.Now()).Add(time.Second / capacity)
			return time.Until(free) + around(20*time.Millisecond), answered
		})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		w.backlog(ctx, &wg, "a", 3000)
		elapse(30 * time.Second)
		most := 0
		for range 30 {
			elapse(time.Second)
			most = max(most, w.underWay("a"))
		}
		now := time.Now()
		if got := w.rate("a", now.Add(-30*time.Second), now); got < 0.95*capacity || most > 200 {
			t.Errorf("%v calls per second, up to %d in flight", got, most)
		} else {
			t.Logf("%v calls per second, up to %d in flight", got, most)
		}
		cancel()
		wg.Wait()
	})
}
