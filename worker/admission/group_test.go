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

// Fault: partitions move among four replicas at random moments, thirty times,
// with a pause of up to 300 ms in which nobody has them. Promise: no second sees
// more calls of all replicas together than 1.1 times the limits, and where nothing
// moves 95 % of the limit is used.
func TestReplicasKeepToTheLimitsTogether(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { replicas(t, seed) })
		})
	}
}

func replicas(t *testing.T, seed uint64) {
	const partitions, members, limit = 12, 4, 400.0
	rng := rand.New(rand.NewPCG(seed, 3))
	log := callLog{times: map[string][]time.Time{}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var admissions [members]*Admission
	var owned [members]int
	tell := func(m int) { admissions[m].SetShare(float64(owned[m]) / partitions) }
	for m := range members {
		a := New(Config{RatePerSubAccount: 300, RateTotal: limit})
		admissions[m] = a
		tell(m)
		for i := range 20 { // more work than may go
			wg.Go(func() {
				sub := fmt.Sprint(i % 2)
				for {
					p, err := a.Wait(ctx, Ticket{SubAccountID: sub})
					if err != nil {
						return
					}
					log.add(sub)
					<-time.After(5 * time.Millisecond)
					p.Done(answered)
				}
			})
		}
	}
	owned[0] = partitions
	tell(0)
	elapse(3 * time.Second)
	for range 30 {
		from, to := rng.IntN(members), rng.IntN(members)
		n := rng.IntN(owned[from] + 1)
		owned[from] -= n
		tell(from)
		elapse(time.Duration(rng.IntN(300)) * time.Millisecond)
		owned[to] += n
		tell(to)
		elapse(time.Duration(rng.IntN(2000)) * time.Millisecond)
	}
	elapse(time.Second)
	before := log.count("")
	elapse(5 * time.Second)
	if used := float64(log.count("") - before); used < 0.95*5*limit {
		t.Errorf("%v calls in 5 s, the limit is %v/s; partitions %v", used, limit, owned)
	}
	cancel()
	wg.Wait()
	for sub, limit := range map[string]float64{"": limit, "0": 300, "1": 300} {
		if most := log.most(sub); float64(most) > 1.1*limit {
			t.Errorf("sub-account %q: %d calls within a second, limit %v", sub, most, limit)
		}
	}
}

// apiWithLimit answers 429 beyond so many calls in a second, with the
// Retry-After of one second that 8x8 sends.
type apiWithLimit struct {
	mu        sync.Mutex
	perSecond int
	second    time.Time
	n         int
	ok, no    int
}

func (s *apiWithLimit) call() Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().Truncate(time.Second)
	if now != s.second {
		s.second, s.n = now, 0
	}
	if s.n++; s.n > s.perSecond {
		s.no++
		return Result{Kind: Throttled, RetryAfter: time.Second}
	}
	s.ok++
	return answered
}

// saturated calls the API as fast as the admission lets it, for a while.
func saturated(t *testing.T, a *Admission, sub string, latency, d time.Duration, call func() Result) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			for {
				p, err := a.Wait(ctx, Ticket{SubAccountID: sub})
				if err != nil {
					return
				}
				<-time.After(latency)
				p.Done(call())
			}
		})
	}
	wg.Wait()
}

// Fault: the API allows 600 calls per second and not the 1,000 that are
// configured. Promise: within a minute 75 % of what it allows is used, and less
// than one call of 50 is refused.
func TestTheRateFollowsAnAPIThatAllowsLess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{RatePerSubAccount: 1000})
		api := &apiWithLimit{perSecond: 600}
		saturated(t, a, "a", 20*time.Millisecond, 20*time.Second, api.call)
		api.ok, api.no = 0, 0
		saturated(t, a, "a", 20*time.Millisecond, 40*time.Second, api.call)
		if used := float64(api.ok) / 40; used < 0.75*600 || api.no > api.ok/50 {
			t.Errorf("%v calls per second answered, %d of %d refused", used, api.no, api.ok+api.no)
		}
		t.Logf("%v calls per second answered, %d of %d refused", float64(api.ok)/40, api.no, api.ok+api.no)
		mustBeEmpty(t, a)
	})
}

func TestTheRateComesBackAfterA429(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Config{RatePerSubAccount: 1000})
		var passes []Pass
		for range 50 {
			passes = append(passes, mustWait(t, a, "a"))
		}
		elapse(20 * time.Millisecond)
		for _, p := range passes { // in flight together: they tell one thing
			p.Done(Result{Kind: Throttled})
		}
		cut := a.Snapshot().SubAccounts[0].RateAllowed
		if cut < 60 || cut > 70 { // 100 are the least that count as in use
			t.Errorf("%v calls per second allowed after a 429, want 70", cut)
		}
		mustWait(t, a, "b").Done(answered) // another sub-account is not concerned
		elapse(30 * time.Second)
		mustWait(t, a, "a").Done(answered)
		if got := a.Snapshot().SubAccounts[0].RateAllowed; got < 300 || got > 400 {
			t.Errorf("%v calls per second allowed half a minute later", got)
		}
		mustBeEmpty(t, a) // in the end it is as if nothing had been
	})
}
