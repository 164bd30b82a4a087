package worker

import (
	"testing"
	"time"

	"smscancel/worker/dedupe"
)

// hot are the steps that every record goes through in this package once it is
// parsed (see TestAPlainRequestCostsFewAllocations), each with the
// allocations that it may make: those do not depend on the machine, as times do.
// The race detector and a garbage collector that empties the pools add a few, so
// they have room.
func hot(tb testing.TB) []step {
	rec := record(plainRequest)
	req, err := Parser{}.Parse(rec)
	if err != nil {
		tb.Fatal(err)
	}
	done := outcome(func(*Outcome) {})
	p := &Partition{Handler: &Handler{Hasher: dedupe.NewHasher()}, ClusterID: "cluster", Topic: "t", Index: dedupe.NewIndex(time.Hour)}
	p.Open()
	target := req.Target.Identity()
	p.Remember(Settled{Record: rec.ID(), Target: target, Answer: dedupe.CancelledOne, Ledger: 1, At: time.Now()})
	job := &Job{base: done, request: req}
	one := 1
	return []step{
		{"fingerprint", 0, func() { rec.ID() }},
		{"outcome of a request", 5, func() { NewOutcome(rec, req, "cluster") }},
		{"key of a message", 0, func() { dedupe.Key128(p.Hasher, req.Target.Identity()) }},
		{"answer from the index", 4, func() { p.settledAnswer(tb.Context(), dedupe.Key128(p.Hasher, target), target) }}, //nolint:errcheck // no ledger is read
		{"decide", 2, func() { job.decided(StatusCancelled, &one, nil) }},
		{"encode", 7, func() { done.Encode() }}, //nolint:errcheck // other tests see that it works
	}
}

type step struct {
	name string
	most float64 // allocations
	do   func()
}

func TestAHotStepMakesFewAllocations(t *testing.T) {
	for _, s := range hot(t) {
		got := testing.AllocsPerRun(1000, s.do)
		if got > s.most {
			t.Errorf("%s: %v allocations, want at most %v", s.name, got, s.most)
		}
	}
}

func BenchmarkHotStep(b *testing.B) {
	for _, s := range hot(b) {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.do()
			}
		})
	}
}
