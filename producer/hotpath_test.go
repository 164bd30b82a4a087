package producer

import (
	"testing"
)

// outcomesToAppend are n outcomes as Append takes them, and what it does with each
// and with all of them together, but for the network.
func appendSteps(tb testing.TB, n int) (one func(), all func()) {
	w := &Writer{source: source{topic: requestTopic}, ledger: &Ledger{Topic: outcomeTopic, Partitions: 12}}
	batch := make([]*pending, n)
	for i := range batch {
		batch[i] = &pending{outcome: outcomeAt(0, int64(i))}
		if err := w.encode(batch[i]); err != nil {
			tb.Fatal(err)
		}
	}
	one = func() { w.encode(batch[0]) } //nolint:errcheck // it was encoded above
	return one, func() {
		if _, err := encodeBatch(recordsOf(batch), 7, 3, 0); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestAnAppendMakesFewAllocations(t *testing.T) {
	const n = 1000
	one, all := appendSteps(t, n)
	if got := testing.AllocsPerRun(1000, one); got > 9 {
		t.Errorf("%v allocations to encode an outcome as a record", got)
	}
	if got := testing.AllocsPerRun(20, all) / n; got > 3.5 {
		t.Errorf("%v allocations for a record in a batch", got)
	}
}

func BenchmarkAppend(b *testing.B) {
	one, all := appendSteps(b, 1000)
	b.Run("record", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			one()
		}
	})
	b.Run("batch of 1000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			all()
		}
	})
}
