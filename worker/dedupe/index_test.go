package dedupe

import (
	"fmt"
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
func TestOutcomesOfABatchLastAsLongWhateverTheOrder(t *testing.T) {
	h, x := NewHasher(), NewIndex(24*time.Hour)
	put := func(ledger int64, at time.Duration) {
		x.Put(Key128(h, ledger), Entry{Ledger: ledger, Answer: NotCancelled}, epoch.Add(at))
	}
	put(0, 0)
	batch := 20 * time.Hour
	for _, ledger := range []int64{5, 3, 4, 1, 2} {
		put(ledger, batch)
	}
	put(6, 30*time.Hour)
	put(7, 31*time.Hour)
	for age := 11 * time.Hour; age < 26*time.Hour; age += time.Hour {
		for ledger := int64(1); ledger <= 5; ledger++ {
			if _, ok := x.Get(Key128(h, ledger), epoch.Add(batch+age)); ok != (age < 24*time.Hour) {
				t.Errorf("entry %d of the batch, %s old: found %v", ledger, age, ok)
			}
		}
	}
}
