package dedupe

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// model is an index in which nothing is clever.
type model struct {
	window  time.Duration
	entries map[Key]remembered
	jumped  bool // the request partition was created again, billions of outcomes later
}

type remembered struct {
	Entry
	at time.Time
}

func (m *model) put(k Key, e Entry, at time.Time) {
	if old, ok := m.entries[k]; !ok || old.Ledger <= e.Ledger {
		m.entries[k] = remembered{e, at}
	}
}

func (m *model) forget(k Key, ledger int64) {
	if old, ok := m.entries[k]; ok && old.Ledger == ledger {
		delete(m.entries, k)
	}
}

// agrees holds an answer of the index against the model, which knows when the
// window ends exactly. What is far from its neighbours may have to be read back.
func (m *model) agrees(got Entry, found bool, k Key, now time.Time) bool {
	want, put := m.entries[k]
	age, grain := now.Sub(want.at), m.window/marksPerWindow
	switch {
	case !found:
		return !put || age >= m.window-grain || m.jumped
	case !put || age > m.window+grain || got.Ledger != want.Ledger:
		return false
	case got.Answer == ReadBack:
		return want.Answer == ReadBack || m.jumped || want.Timestamp < 0 || want.Timestamp >= 1<<timeBits
	}
	return got == want.Entry
}

// dice draw the operations. Keys are few, and share their upper half or the
// table, so that they stand in each other's way.
type dice struct{ *rand.Rand }

func (d dice) key() Key {
	k := Key{d.Uint64N(4) << 62, d.Uint64N(30)}
	if d.IntN(2) == 0 {
		k[0], k[1] = d.Uint64N(300)*0x9e3779b97f4a7c15, k[1]<<60
	}
	return k
}

func (d dice) timestamp() int64 {
	any := []int64{-1, 0, 7, math.MinInt64, math.MaxInt64, 1 << timeBits, 1<<timeBits - 1}
	return append(any, epoch.UnixMilli()+d.Int64N(1<<40))[d.IntN(len(any)+1)]
}

func TestTheIndexAnswersLikeAMap(t *testing.T) {
	for seed := range uint64(60) {
		d := dice{rand.New(rand.NewPCG(seed, 1))}
		x, m := NewIndex(time.Hour), model{window: time.Hour, entries: map[Key]remembered{}}
		now, ledger, first := epoch, d.Int64N(1<<40), d.Int64N(1<<40)
		for range 4000 {
			k := d.key()
			switch d.IntN(8) {
			case 0, 1, 2:
				e := Entry{Ledger: ledger - d.Int64N(8), Offset: first + d.Int64N(1<<28), Timestamp: d.timestamp(), Answer: ReadBack + Answer(d.IntN(3))}
				x.Put(k, e, now)
				m.put(k, e, now)
				ledger += 1 + d.Int64N(20)
			case 3:
				if e, ok := m.entries[k]; ok {
					x.Forget(k, e.Ledger-d.Int64N(2))
					if got, found := x.table(k).get(k); !found || got.Ledger != e.Ledger {
						m.forget(k, e.Ledger)
					}
				}
			case 4:
				x.Sweep(now)
			case 5:
				now = now.Add(time.Duration(d.Int64N(int64(time.Minute))))
				ledger += 8 // late by a few is only what was written at about the same time
			case 6:
				if seed%4 == 0 && d.IntN(500) == 0 { // beyond what a slot can count
					ledger += 1 << 33
					first, m.jumped = d.Int64N(1<<40), true
				}
			}
			if got, found := x.Get(k, now); !m.agrees(got, found, k, now) {
				t.Fatalf("seed %d: %s after its beginning the index says %+v, %v; put was %+v", seed, now.Sub(epoch), got, found, m.entries[k])
			}
		}
		checkTables(t, x)
	}
}

// A topic that was created again begins at offset 0: its entries are read back
// until the sweep has come by, and then no more.
func TestTheSweepFollowsTheOffsets(t *testing.T) {
	h, x := NewHasher(), NewIndex(time.Hour)
	put := func(id string, offset int64) Answer {
		x.Put(Key128(h, id), Entry{Ledger: x.last.ledger + 1, Offset: offset, Timestamp: 7, Answer: CancelledOne}, epoch)
		e, _ := x.Get(Key128(h, id), epoch)
		return e.Answer
	}
	for i := range 5000 {
		if a := put(fmt.Sprint("old ", i), 1<<40+int64(i)); a != CancelledOne {
			t.Fatalf("entry %d: answer %v", i, a)
		}
	}
	if a := put("new", 0); a != ReadBack {
		t.Errorf("an offset that a slot cannot hold: answer %v", a)
	}
	for range shards {
		x.Sweep(epoch)
	}
	if a := put("newer", 1); a != CancelledOne {
		t.Errorf("after the sweep: answer %v", a)
	}
	if e, ok := x.Get(Key128(h, "old 17"), epoch); !ok || e.Ledger != 17 {
		t.Errorf("an entry of before: %+v, %v", e, ok)
	}
}

// checkTables holds every table against its own rules.
func checkTables(t *testing.T, x *Index) {
	t.Helper()
	for i := range x.tables {
		used, last := 0, -1
		for place, s := range x.tables[i].slots {
			if s.empty() {
				continue
			}
			used++
			if home := x.tables[i].home(s.high); home > place || home < place && last != place-1 {
				t.Fatalf("table %d: an entry of place %d stands at %d, the one before at %d", i, home, place, last)
			}
			if last >= 0 && !x.tables[i].slots[last].before(s.key()) {
				t.Fatalf("table %d: the entries at %d and %d are out of order", i, last, place)
			}
			last = place
		}
		if used != x.tables[i].used {
			t.Fatalf("table %d has %d entries and counts %d", i, used, x.tables[i].used)
		}
	}
}
