package checker

import (
	"runtime"
	"testing"

	"smscancel/worker"
)

// BenchmarkAMillionRequests shows what a large run costs: one call and one
// outcome for each request, a tenth of them duplicates without a call.
func BenchmarkAMillionRequests(b *testing.B) {
	const n = 1_000_000
	s := newScene(&testing.T{})
	s.take(a, 0, -1, map[string]any{"offset": -1})
	s.commit(a, 0, n)
	for i := range int64(n) {
		if i%10 == 9 {
			s.settle(a, s.cancel(umid(int(i-1))), worker.StatusDuplicate, copyOf(s, i-1))
		} else {
			s.call(a, s.cancel(umid(int(i))), counted(1), true)
			s.settle(a, i, worker.StatusCancelled, count(1))
		}
		if i%1000 == 0 {
			s.commit(a, i, n)
		}
	}
	s.of, s.at = nil, nil
	size := heap()
	b.ReportAllocs()
	for b.Loop() {
		if report := s.check(); !report.OK() {
			b.Fatal(report)
		}
	}
	b.ReportMetric(float64(size)/(1<<20), "run-MiB") // what the run itself takes
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
