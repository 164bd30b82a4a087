package dedupe

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"
)

// fill puts n entries as a replay does, a millisecond apart.
func fill(x *Index, n int, each func()) {
	d := rand.New(rand.NewPCG(1, 2))
	for i := range int64(n) {
		x.Put(Key{d.Uint64(), d.Uint64()}, Entry{Ledger: i, Offset: i, Timestamp: epoch.UnixMilli() + i, Answer: CancelledOne}, epoch.Add(time.Duration(i)*time.Millisecond))
		each()
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// bytes is what the slots of an index take.
func bytes(x *Index) (n int) {
	for i := range x.tables {
		n += 24 * cap(x.tables[i].slots)
	}
	return n
}

// Promise: at most 32 bytes an entry, wherever in their growth the tables are.
// (With fewer entries the allocator's pages of 8 KiB weigh more.)
func TestAnEntryTakesAtMost32Bytes(t *testing.T) {
	const from, to = 500_000, 600_000
	x, n, most := NewIndex(24*time.Hour), 0, 0.0
	before := heap()
	fill(x, to, func() {
		if n++; n >= from && n%10_000 == 0 {
			most = max(most, float64(bytes(x))/float64(n))
		}
	})
	x.Len() // nobody waits any more
	if most > 32 {
		t.Errorf("%.1f bytes an entry", most)
	}
	if all := float64(heap()-before) / to; all > 32 {
		t.Errorf("%.1f bytes an entry with everything around them", all)
	}
	runtime.KeepAlive(x)
	t.Logf("at most %.1f bytes an entry", most)
}

// BenchmarkIndex fills an index of a size and asks it. Its metrics are the bytes
// of an entry, and for how long a call, or the garbage collector, holds all others
// up: at most, and 99 of 100 sweeps, or collections.
func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{1_000_000, 5_000_000, 10_000_000} {
		b.Run(fmt.Sprintf("put/%d", n), func(b *testing.B) {
			for b.Loop() {
				before, x, begin := heap(), NewIndex(24*time.Hour), time.Now()
				fill(x, n, func() {})
				b.ReportMetric(float64(time.Since(begin))/float64(n), "ns/put")
				b.ReportMetric(float64(heap()-before)/float64(n), "B/entry")
				runtime.KeepAlive(x)
			}
			pauses := debug.GCStats{PauseQuantiles: make([]time.Duration, 101)}
			debug.ReadGCStats(&pauses)
			b.ReportMetric(float64(pauses.PauseQuantiles[99].Microseconds()), "p99-gc-µs")
		})
		b.Run(fmt.Sprintf("longest put/%d", n), func(b *testing.B) {
			for b.Loop() {
				longest, last := time.Duration(0), time.Now()
				fill(NewIndex(24*time.Hour), n, func() {
					now := time.Now()
					longest, last = max(longest, now.Sub(last)), now
				})
				b.ReportMetric(float64(longest.Microseconds()), "max-µs")
			}
		})
		x := NewIndex(24 * time.Hour)
		fill(x, n, func() {})
		end := epoch.Add(time.Duration(n) * time.Millisecond)
		for name, seed := range map[string]uint64{"hit": 1, "miss": 3} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				d, i := rand.New(rand.NewPCG(seed, 2)), 0
				for b.Loop() {
					if i++; i == n {
						d, i = rand.New(rand.NewPCG(seed, 2)), 0
					}
					x.Get(Key{d.Uint64(), d.Uint64()}, end)
				}
			})
		}
		b.Run(fmt.Sprintf("sweep/%d", n), func(b *testing.B) { // a tenth has expired
			var took []time.Duration
			for b.Loop() {
				begin := time.Now()
				x.sweep(end.Add(24*time.Hour - time.Duration(n-n/10)*time.Millisecond))
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs")
		})
	}
}
