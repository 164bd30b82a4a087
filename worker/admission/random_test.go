package admission

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Fault: everything at once. Calls end in every way there is, with and without a
// Retry-After, fast and slow; callers give up at random; rates and shares change.
// Promise: no slot is lost or given twice, nobody waits for ever, and in the end
// nothing is left behind.
func TestNothingIsLostAmongAllFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { allFaults(t, seed) })
		})
	}
}

func allFaults(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 11))
	concurrency := []int{1, 3, 40}[seed%3]
	a := New(Config{Concurrency: concurrency, RatePerSubAccount: 300, RateTotal: 500, RetryAfterMax: 20 * time.Second})
	var mu sync.Mutex
	inFlight, sent, refused := 0, 0, 0
	var wg sync.WaitGroup
	kinds := []Kind{NotSent, CutOff, Failed, Failed, Failed, Throttled, Throttled, BadKey, Upgrade}
	for i := range 6000 {
		now := time.Now()
		ticket := Ticket{
			SubAccountID: fmt.Sprint(rng.IntN(5)), Lane: rng.IntN(3), Due: now.Add(time.Duration(rng.IntN(200)) * time.Second),
			Dated: rng.IntN(2) == 0, Arrival: now.Add(time.Duration(i)), Retry: rng.IntN(3) == 0, HoldFor: time.Duration(rng.IntN(30)) * time.Second,
		}
		patience := time.Duration(1+rng.IntN(60)) * time.Second
		takes := time.Duration(rng.IntN(200)) * time.Millisecond
		if rng.IntN(30) == 0 {
			takes = 7 * time.Second
		}
		r := Result{Kind: Answered}
		if i%2000 < 1500 && rng.IntN(4) == 0 { // in the end of each third all is well
			r.Kind = kinds[rng.IntN(len(kinds))]
		}
		if r.Kind == Throttled && rng.IntN(2) == 0 {
			r.RetryAfter = time.Duration(rng.IntN(10)) * time.Second
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			start := time.Now()
			p, err := a.Wait(ctx, ticket)
			if d := time.Since(start); d > patience {
				t.Errorf("waited %v with patience for %v", d, patience)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if _, held := err.(*HeldError); held {
					refused++
				}
				p.Done(Result{})
				return
			}
			if inFlight++; inFlight > concurrency {
				t.Errorf("%d calls at once, %d are allowed", inFlight, concurrency)
			}
			sent++
			mu.Unlock()
			<-time.After(takes)
			mu.Lock()
			inFlight--
			p.Done(r)
		})
		switch rng.IntN(50) {
		case 0:
			a.SetShare(rng.Float64())
		case 1:
			a.SetRates(float64(100+rng.IntN(400)), 500, nil)
		}
		elapse(time.Duration(rng.IntN(20)) * time.Millisecond)
	}
	a.SetShare(1)
	wg.Wait()
	if sent < 200 || refused == 0 {
		t.Errorf("%d calls, %d refused behind a hold", sent, refused)
	}
	start := time.Now()
	for i := range 5 {
		p, err := a.Wait(t.Context(), Ticket{SubAccountID: fmt.Sprint(i), HoldFor: time.Hour})
		if err != nil {
			t.Error(err)
		}
		p.Done(answered)
	}
	if d := time.Since(start); d > 30*time.Second {
		t.Errorf("afterwards it took %v to go on", d)
	}
	mustBeEmpty(t, a)
}
