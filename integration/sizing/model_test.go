package sizing

import (
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"smscancel/worker/admission"
	"smscancel/worker/dedupe"
)

// The rate that the model computes is the one that the worker's admission gives,
// whatever is scarce. Time is virtual, so no machine is too slow.
func TestTheRateIsTheOneOfAdmission(t *testing.T) {
	for name, c := range map[string]struct {
		lim     Limits
		latency time.Duration
		subs    int
		share   float64
	}{
		"slots, one sub-account":                    {Limits{PerAddress: 1e6, PerSubAccount: 1e6, Concurrency: 64}, 200 * time.Millisecond, 1, 1},
		"slots, many":                               {Limits{PerAddress: 1e6, PerSubAccount: 1e6, Concurrency: 64}, 200 * time.Millisecond, 8, 1},
		"the limit of an address":                   {Limits{PerAddress: 300, PerSubAccount: 1e6, Concurrency: 64}, 50 * time.Millisecond, 4, 1},
		"the limit of a sub-account":                {Limits{PerAddress: 1e6, PerSubAccount: 200, Concurrency: 64}, 50 * time.Millisecond, 2, 1},
		"a quarter of the partitions":               {Limits{PerAddress: 600, PerSubAccount: 1e6, Concurrency: 64}, 50 * time.Millisecond, 4, 0.25},
		"a quarter of them, and of a sub-account's": {Limits{PerAddress: 1e6, PerSubAccount: 400, Concurrency: 64}, 50 * time.Millisecond, 1, 0.25},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got, want := measured(t, c.lim, c.latency, c.subs, c.share), c.lim.Rate(c.latency, c.subs, c.share)
				if r := got / want; r < 0.97 || r > 1.03 {
					t.Errorf("%.1f calls/s, the model says %.1f", got, want)
				}
			})
		})
	}
}

// measured is the rate of a replica with a backlog, after a minute.
func measured(t *testing.T, lim Limits, latency time.Duration, subs int, share float64) float64 {
	a := admission.New(admission.Config{Concurrency: lim.Concurrency, RatePerSubAccount: lim.PerSubAccount, RateTotal: lim.PerAddress})
	a.SetShare(share)
	const warmUp, span = time.Minute, 10 * time.Second
	begin := time.Now()
	var mu sync.Mutex
	calls := 0
	var all sync.WaitGroup
	for i := range 2 * lim.Concurrency {
		all.Go(func() {
			for time.Since(begin) < warmUp+span {
				pass, err := a.Wait(t.Context(), admission.Ticket{SubAccountID: "sub-" + strconv.Itoa(i%subs), Arrival: time.Now().Add(time.Duration(i))})
				if err != nil {
					return
				}
				if since := time.Since(begin); since >= warmUp && since < warmUp+span {
					mu.Lock()
					calls++
					mu.Unlock()
				}
				time.Sleep(latency)
				pass.Done(admission.Result{Kind: admission.Answered})
			}
		})
	}
	all.Wait()
	return float64(calls) / span.Seconds()
}

// The index takes the bytes that the model says, and twice as many for twice the
// outcomes.
func TestTheIndexTakesWhatTheModelSays(t *testing.T) {
	for _, n := range []int{400_000, 800_000} {
		before := heap()
		x := dedupe.NewIndex(24 * time.Hour)
		h := dedupe.NewHasher()
		for i := range n {
			x.Put(dedupe.Key128(h, i), dedupe.Entry{Ledger: int64(i), Offset: int64(i), Timestamp: 1, Answer: dedupe.CancelledOne}, time.UnixMilli(int64(i)))
		}
		if x.Len() != n {
			t.Fatalf("%d entries of %d", x.Len(), n)
		}
		got := float64(heap() - before)
		if r := got / (float64(n) * Measured.Entry); r < 0.9 || r > 1.1 {
			t.Errorf("%d outcomes take %.1f bytes each, the model says %.0f", n, got/float64(n), Measured.Entry)
		}
		runtime.KeepAlive(x)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
