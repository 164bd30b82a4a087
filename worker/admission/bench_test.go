package admission

import (
	"context"
	"strconv"
	"sync"
	"testing"
)

func BenchmarkNoLimits(b *testing.B) {
	b.ReportAllocs()
	a := New(Config{})
	for b.Loop() {
		p, _ := a.Wait(context.Background(), Ticket{SubAccountID: "a"})
		p.Done(answered)
	}
}

func BenchmarkLimitsNotReached(b *testing.B) {
	b.ReportAllocs()
	a := New(Config{RatePerSubAccount: 1e9, RateTotal: 1e9})
	for b.Loop() {
		p, _ := a.Wait(context.Background(), Ticket{SubAccountID: "a"})
		p.Done(answered)
	}
}

// BenchmarkCrowd has 20,000 callers for 1,024 slots, over 1 or 1,000
// sub-accounts: the cost of a grant must not grow with the crowd.
func BenchmarkCrowd(b *testing.B) {
	for _, subs := range []int{1, 1000} {
		b.Run(strconv.Itoa(subs), func(b *testing.B) {
			a := New(Config{Concurrency: 1024})
			var wg sync.WaitGroup
			const callers = 20_000
			for i := range callers {
				id := strconv.Itoa(i % subs)
				wg.Go(func() {
					for range b.N/callers + 1 {
						p, _ := a.Wait(context.Background(), Ticket{SubAccountID: id})
						p.Done(answered)
					}
				})
			}
			wg.Wait()
		})
	}
}

// Promise: a call that need not wait, of a sub-account that is at work, takes its
// place and gives it back with one allocation, and one more for each token bucket.
func TestAPlaceIsTakenWithFewAllocations(t *testing.T) {
	for name, c := range map[string]struct {
		a    *Admission
		most float64
	}{
		"no limits":                   {New(Config{}), 1},
		"limits that are not reached": {New(Config{RatePerSubAccount: 1e9, RateTotal: 1e9}), 3},
	} {
		other, err := c.a.Wait(t.Context(), Ticket{SubAccountID: "a"})
		if err != nil {
			t.Fatal(err)
		}
		if got := testing.AllocsPerRun(1000, func() {
			p, _ := c.a.Wait(context.Background(), Ticket{SubAccountID: "a"})
			p.Done(answered)
		}); got > c.most {
			t.Errorf("%s: %v allocations, want at most %v", name, got, c.most)
		}
		other.Done(answered)
	}
}
