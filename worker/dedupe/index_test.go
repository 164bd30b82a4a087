package dedupe

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func TestIndexAnswersWithinTheWindowOnly(t *testing.T) {
	h, x := NewHasher(), NewIndex(time.Hour)
	for i := range 100 { // one entry a minute, at ledger offset 10·i
		x.Put(Key128(h, i), Entry{Ledger: int64(10 * i), Offset: int64(i), Timestamp: 7, Answer: CancelledOne}, epoch.Add(time.Duration(i)*time.Minute))
	}
	now := epoch.Add(99 * time.Minute)
	for i := range 100 {
		e, ok := x.Get(Key128(h, i), now)
		if want := i > 39; ok != want && i != 39 { // exact to a 1/1024th of the window
			t.Errorf("entry of minute %d, window of 60 at minute 99: found %v", i, ok)
		}
		if ok && (e != Entry{Ledger: int64(10 * i), Offset: int64(i), Timestamp: 7, Answer: CancelledOne}) {
			t.Errorf("entry %d came back as %+v", i, e)
		}
	}
}

func TestNewerEntryReplacesOlderWhateverTheOrder(t *testing.T) {
	h := NewHasher()
	for _, order := range [][]int64{{5, 9}, {9, 5}} {
		x := NewIndex(time.Hour)
		for _, ledger := range order {
			x.Put(Key128(h, "m"), Entry{Ledger: ledger, Answer: NotCancelled}, epoch)
		}
		if e, ok := x.Get(Key128(h, "m"), epoch); !ok || e.Ledger != 9 {
			t.Errorf("order %v: got %+v, %v", order, e, ok)
		}
	}
}

func TestSweepDropsWhatHasExpiredAndNothingElse(t *testing.T) {
	h, x := NewHasher(), NewIndex(time.Minute)
	for i := range 2000 {
		x.Put(Key128(h, i), Entry{Ledger: int64(i), Answer: NotCancelled}, epoch.Add(time.Duration(i)*100*time.Millisecond))
	}
	now := epoch.Add(200 * time.Second)
	for range shards {
		x.Sweep(now)
	}
	if n := x.Len(); n < 599 || n > 601 {
		t.Errorf("%d entries left of a window of 600", n)
	}
	for i := 1401; i < 2000; i++ {
		if _, ok := x.Get(Key128(h, i), now); !ok {
			t.Fatalf("entry %d is within the window and gone", i)
		}
	}
	if len(x.marks) > 2*marksPerWindow {
		t.Errorf("%d marks are kept", len(x.marks))
	}
}

func TestForgetSparesANewerEntry(t *testing.T) {
	h, x := NewHasher(), NewIndex(time.Hour)
	k := Key128(h, "m")
	x.Put(k, Entry{Ledger: 9, Answer: ReadBack}, epoch)
	x.Forget(k, 5)
	if _, ok := x.Get(k, epoch); !ok {
		t.Error("forgetting offset 5 dropped the entry at 9")
	}
	x.Forget(k, 9)
	if _, ok := x.Get(k, epoch); ok {
		t.Error("entry is still there")
	}
}

func TestKeysDifferBetweenTargets(t *testing.T) {
	type target struct {
		sub, id string
		batch   bool
	}
	h, seen := NewHasher(), map[Key]target{}
	for i := range 1000 {
		for _, batch := range []bool{false, true} {
			x := target{sub: fmt.Sprint("s", i%10), id: fmt.Sprint(i), batch: batch}
			k := Key128(h, x)
			if other, ok := seen[k]; ok {
				t.Fatalf("%v and %v share a key", x, other)
			}
			seen[k] = x
		}
	}
}

func TestTheNewestEntryExpiresToo(t *testing.T) {
	h, x := NewHasher(), NewIndex(24*time.Hour)
	k := Key128(h, "m")
	for _, ledger := range []int64{0, 10} {
		x.Put(k, Entry{Ledger: ledger, Answer: NotCancelled}, epoch)
		if _, ok := x.Get(k, epoch.Add(time.Hour)); !ok {
			t.Errorf("entry at %d does not answer within the window", ledger)
		}
		if _, ok := x.Get(k, epoch.Add(25*time.Hour)); ok {
			t.Errorf("entry at %d answers after the window, in a quiet partition", ledger)
		}
	}
}

func TestAClockThatWasAheadDoesNotStopTheWindow(t *testing.T) {
	h, x := NewHasher(), NewIndex(time.Hour)
	x.Put(Key128(h, -1), Entry{Ledger: 1, Answer: NotCancelled}, epoch.Add(1000*time.Hour))
	for i := range 200 { // a minute apart, by a clock that is right again
		x.Put(Key128(h, i), Entry{Ledger: int64(i + 2), Answer: NotCancelled}, epoch.Add(time.Duration(i)*time.Minute))
	}
	now := epoch.Add(199 * time.Minute)
	if _, ok := x.Get(Key128(h, 10), now); ok {
		t.Error("an entry three hours old answers within a window of one")
	}
	if _, ok := x.Get(Key128(h, 150), now); !ok {
		t.Error("an entry of the last hour is gone")
	}
}

func TestALaterEntryNeitherProlongsNorRevivesAnEarlierOne(t *testing.T) {
	for _, gap := range []time.Duration{23 * time.Hour, 25 * time.Hour} {
		h, x := NewHasher(), NewIndex(24*time.Hour)
		x.Put(Key128(h, "a"), Entry{Ledger: 5, Answer: NotCancelled}, epoch)
		x.Put(Key128(h, "b"), Entry{Ledger: 9, Answer: NotCancelled}, epoch.Add(gap))
		for age := gap; age < 50*time.Hour; age += time.Hour / 2 {
			_, a := x.Get(Key128(h, "a"), epoch.Add(age))
			_, b := x.Get(Key128(h, "b"), epoch.Add(age))
			if a != (age < 24*time.Hour) || b != (age-gap < 24*time.Hour) {
				t.Errorf("at %s: a, written at 0: %v; b, written at %s: %v", age, a, gap, b)
			}
		}
	}
}

// The outcomes of one batch are remembered by as many goroutines, in any order.
func TestOutcomesOfABatchLastTheWindowWhateverTheOrder(t *testing.T) {
	written := [...]time.Duration{0, 20 * time.Hour, 20 * time.Hour, 20 * time.Hour, 20 * time.Hour, 20 * time.Hour, 30 * time.Hour, 31 * time.Hour}
	for _, order := range [][]int64{{0, 1, 2, 3, 4, 5, 6, 7}, {0, 5, 3, 4, 1, 2, 6, 7}, {5, 4, 0, 3, 2, 1, 7, 6}, {1, 0, 7, 6, 5, 4, 3, 2}} {
		h, x := NewHasher(), NewIndex(24*time.Hour)
		for _, ledger := range order {
			x.Put(Key128(h, ledger), Entry{Ledger: ledger, Answer: NotCancelled}, epoch.Add(written[ledger]))
		}
		for now := 31 * time.Hour; now < 60*time.Hour; now += time.Hour / 2 {
			for ledger, at := range written {
				if _, ok := x.Get(Key128(h, int64(ledger)), epoch.Add(now)); ok != (now-at < 24*time.Hour) {
					t.Errorf("order %v, entry %d, %s old: found %v", order, ledger, now-at, ok)
				}
			}
		}
	}
}

func TestTheWindowIsExactToAThousandthWhateverTheOrder(t *testing.T) {
	const n, window = 300, time.Hour
	for seed := range uint64(30) {
		dice := rand.New(rand.NewPCG(seed, 0))
		h, x := NewHasher(), NewIndex(window)
		written, order, at := make([]time.Time, n), make([]int64, n), epoch
		for i := range n {
			if dice.IntN(3) == 0 {
				at = at.Add(time.Duration(dice.Int64N(int64(window / 20))))
			}
			written[i], order[i] = at, int64(i)
		}
		for i := range n - 8 { // an entry is late by a few at most
			j := i + dice.IntN(8)
			order[i], order[j] = order[j], order[i]
		}
		for _, ledger := range order {
			x.Put(Key128(h, ledger), Entry{Ledger: ledger, Answer: NotCancelled}, written[ledger])
		}
		for now := at; now.Before(at.Add(2 * window)); now = now.Add(window / 50) {
			for ledger := range int64(n) {
				age := now.Sub(written[ledger])
				_, found := x.Get(Key128(h, ledger), now)
				if found && age > window+window/marksPerWindow || !found && age < window-window/marksPerWindow {
					t.Fatalf("seed %d: entry %d, %s old, window %s: found %v", seed, ledger, age, window, found)
				}
			}
		}
	}
}
