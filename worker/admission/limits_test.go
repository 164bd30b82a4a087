package admission

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// callLog collects when calls went out, by sub-account and in all ("").
type callLog struct {
	mu    sync.Mutex
	times map[string][]time.Time
}

func (l *callLog) add(sub string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.times[sub] = append(l.times[sub], now)
	l.times[""] = append(l.times[""], now)
}

// count is how many calls there were so far.
func (l *callLog) count(sub string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.times[sub])
}

// most is the largest number of calls in any second.
func (l *callLog) most(sub string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	times, from, most := l.times[sub], 0, 0
	for i, at := range times {
		for at.Sub(times[from]) >= time.Second {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}

func TestNoSecondExceedsTheLimitsUnderRandomArrivals(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomArrivals(t, seed) })
		})
	}
}

func randomArrivals(t *testing.T, seed uint64) {
	const perSub, total = 180.0, 300.0
	rng := rand.New(rand.NewPCG(seed, 7))
	a := New(Config{Concurrency: 50, RatePerSubAccount: perSub, RateTotal: total, OverridesPerSubAccount: map[string]float64{"2": 20}})
	log := callLog{times: map[string][]time.Time{}}
	var wg sync.WaitGroup
	for range 1500 {
		sub := fmt.Sprint(rng.IntN(3))
		for range rng.IntN(4) {
			wg.Go(func() {
				p := mustWait(t, a, sub)
				log.add(sub)
				<-time.After(10 * time.Millisecond)
				p.Done(answered)
			})
		}
		switch rng.IntN(40) {
		case 0:
			elapse(time.Duration(rng.IntN(1500)) * time.Millisecond) // a lull: buckets fill
		case 1:
			pauseFor(a, sub, time.Duration(rng.IntN(700))*time.Millisecond)
		default:
			elapse(time.Duration(rng.IntN(3_000_000)))
		}
	}
	wg.Wait()
	for sub, limit := range map[string]float64{"": total, "0": perSub, "1": perSub, "2": 20} {
		if most := log.most(sub); float64(most) > 1.1*limit {
			t.Errorf("sub-account %q: %d calls within a second, limit %v", sub, most, limit)
		}
	}
	mustBeEmpty(t, a)
}

func TestLimitsAreUsedWhenThereIsWork(t *testing.T) {
	t.Parallel()
	for _, limit := range []float64{1, 3, 5, 9, 15, 19, 100, 1800, 3000} {
		for _, total := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/total=%v", limit, total), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { saturate(t, limit, total) })
			})
		}
	}
}

// saturate keeps more callers waiting than can go, and counts.
func saturate(t *testing.T, limit float64, total bool) {
	const seconds = 3
	cfg := Config{Concurrency: 20, RatePerSubAccount: limit}
	if total {
		cfg.RatePerSubAccount, cfg.RateTotal = 0, limit
	}
	a := New(cfg)
	log := callLog{times: map[string][]time.Time{}}
	ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 40 {
		sub := "a"
		if total {
			sub = fmt.Sprint(i % 7)
		}
		wg.Go(func() {
			for {
				p, err := a.Wait(ctx, Ticket{SubAccountID: sub})
				if err != nil {
					return
				}
				log.add(sub)
				<-time.After(time.Millisecond)
				p.Done(answered)
			}
		})
	}
	wg.Wait()
	if used := float64(len(log.times[""])); used < 0.95*limit*seconds {
		t.Errorf("%v calls in %d s, limit %v/s", used, seconds, limit)
	}
	if most := log.most(""); float64(most) > max(1, 1.1*limit) {
		t.Errorf("%d calls within a second, limit %v", most, limit)
	}
	mustBeEmpty(t, a)
}

func TestNewRatesHoldForThoseWhoWaitAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{RatePerSubAccount: 0.001})
		mustWait(t, a, "a").Done(answered)
		start := time.Now()
		done := make(chan time.Duration)
		for range 3 {
			go func() {
				mustWait(t, a, "a").Done(answered)
				done <- time.Since(start)
			}()
		}
		synctest.Wait()
		a.SetRates(2, 0, nil)
		for i := range 3 {
			// The bucket keeps what it had: nothing.
			if got, want := <-done, time.Duration(i+1)*500*time.Millisecond; got < want || got > want+time.Millisecond {
				t.Errorf("call %d after %v, want %v", i, got, want)
			}
		}
		go func() { mustWait(t, a, "a").Done(answered); done <- 0 }()
		synctest.Wait()
		a.SetRates(0, 0, nil)
		<-done
		a.SetRates(0, 0, map[string]float64{"a": 1})
		if got := a.rates.of("a"); got != 1 {
			t.Errorf("override is %v", got)
		}
		mustBeEmpty(t, a)
	})
}

func TestRatesThatAreNoNumbersAreNoLimit(t *testing.T) {
	for _, r := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if newBucket(limit(r)) != nil {
			t.Errorf("%v limits", r)
		}
	}
}

func TestARefundedTokenNeverExceedsTheBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(100) // holds 5
		for range 50 {
			b.refund(time.Now())
		}
		n := 0
		for ; n < 100; n++ {
			if _, d := b.take(time.Now()); d > 0 {
				break
			}
			elapse(time.Nanosecond)
		}
		if n > 6 {
			t.Errorf("%d tokens in a bucket of 5", n)
		}
	})
}
