package dedupe

import (
	"testing"
	"time"
)

// TestTheHotPathOfAMessageAllocatesItsTurn is about a message on its way: its key,
// its claim, the look for an earlier outcome, and its own outcome.
func TestTheHotPathOfAMessageAllocatesItsTurn(t *testing.T) {
	type target struct{ sub, id string }
	h, x, c := NewHasher(), NewIndex(time.Hour), NewClaims[string]()
	fill(x, 10_000, func() {})
	k, now, ledger := Key128(h, target{"acme", "m"}), time.Now(), int64(20_000)
	for name, step := range map[string]struct {
		most float64
		do   func()
	}{
		"key":    {0, func() { Key128(h, target{"acme", "m"}) }},
		"lookup": {0, func() { x.Get(k, now) }},
		"settle": {0, func() { // and the look that puts it into its place
			ledger++
			x.Put(k, Entry{Ledger: ledger, Answer: CancelledOne}, now)
			x.Get(k, now)
		}},
		"claim": {2, func() { c.Enter(k, false).Leave(nil) }},
		"claim, and a duplicate that waits": {4, func() {
			first, second := c.Enter(k, false), c.Enter(k, false)
			first.Leave(nil)
			second.Leave(nil)
		}},
	} {
		if got := testing.AllocsPerRun(1000, step.do); got > step.most {
			t.Errorf("%s: %v allocations, want at most %v", name, got, step.most)
		}
	}
}

func BenchmarkClaim(b *testing.B) {
	c, k := NewClaims[string](), Key{1, 2}
	b.ReportAllocs()
	for b.Loop() {
		c.Enter(k, false).Leave(nil)
	}
}

func BenchmarkKey(b *testing.B) {
	h := NewHasher()
	id := struct{ sub, id string }{"acme_shop", "9fa677ae-6b99-4215-85b3-6ee7b89d35c9"}
	b.ReportAllocs()
	for b.Loop() {
		Key128(h, id)
	}
}
