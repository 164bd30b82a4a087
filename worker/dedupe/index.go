// Package dedupe remembers which messages of one request partition are settled
// (Index) and puts the records of one message in order (Claims).
//
// It holds hashes, not ids, and knows nothing of Kafka or HTTP. Its caller is
// package worker; what it remembers is filled by the ledger's replay.
package dedupe

import (
	"hash/maphash"
	"slices"
	"sort"
	"sync"
	"time"
)

// Key is a keyed 128-bit hash of a target. The seeds are of this process, so
// nobody can make ids collide. The index keeps 94 bits of it: among
// 10,000,000 entries one of a million million requests is taken for a duplicate
// that it is not with a probability of 5·10⁻¹⁰; with 64 bits it would be 0.4.
type Key [2]uint64

// Hasher makes the keys of one process.
type Hasher struct{ high, low maphash.Seed }

// NewHasher returns a hasher with fresh random seeds.
func NewHasher() *Hasher { return &Hasher{high: maphash.MakeSeed(), low: maphash.MakeSeed()} }

// Key hashes any comparable identity of a target.
func Key128[T comparable](h *Hasher, identity T) Key {
	return Key{maphash.Comparable(h.high, identity), maphash.Comparable(h.low, identity)}
}

// Answer says what a settled outcome tells a duplicate.
type Answer uint8

const (
	None         Answer = iota // the outcome answers nobody
	ReadBack                   // the answer has to be read from the ledger
	NotCancelled               // 200 with cancelledCount 0, not ambiguous
	CancelledOne               // 200 with cancelledCount 1, not ambiguous
)

// Entry is one settled message.
type Entry struct {
	Ledger    int64 // offset of the outcome in the ledger partition
	Offset    int64 // of the request record that the outcome belongs to; not kept where the answer is read back
	Timestamp int64 // of that record, Unix milliseconds; with Offset it names the outcome
	Answer    Answer
}

// mark stands at a ledger offset: the entry there was written at a time, and
// every entry below not after another. Marks turn an age into a ledger offset,
// so entries carry none.
type mark struct {
	ledger int64
	at     time.Time
	before time.Time // of the newest entry below
}

const (
	marksPerWindow = 1024 // the window is exact to a 1/1024th

	shardBits = 8              // a table is small enough to be swept, or to grow, at once
	shards    = 1 << shardBits // by the upper bits of Key[1]
	sweepStep = 4              // of them
)

// Index holds the settled messages of the dedupe window. It is safe for
// concurrent use.
type Index struct {
	window time.Duration

	mu     sync.Mutex
	tables [shards]table
	marks  []mark
	last   mark  // of the newest entry
	near   int64 // Entry.Offset of it
	next   int   // shard to sweep next
}

// NewIndex returns an empty index of entries not older than window.
func NewIndex(window time.Duration) *Index {
	x := &Index{window: window, last: mark{ledger: -1}}
	for i := range x.tables {
		x.tables[i] = newTable(i, shards)
	}
	return x
}

func (x *Index) table(k Key) *table { return &x.tables[k[1]>>(64-shardBits)] }

// Put remembers e, which answers somebody, written to the ledger at the given
// time; a newer entry replaces an older one.
func (x *Index) Put(k Key, e Entry, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.mark(e.Ledger, at)
	if e.Ledger > x.last.ledger {
		x.last = mark{ledger: e.Ledger, at: at}
		x.near = e.Offset
	}
	x.table(k).put(k, e, x.near)
}

func (x *Index) mark(ledger int64, at time.Time) {
	n := len(x.marks)
	if n > 0 && ledger <= x.marks[n-1].ledger {
		x.late(ledger, at)
		return
	}
	grain := x.window / marksPerWindow
	for n > 0 && x.marks[n-1].at.Sub(at) >= grain { // the clock was set back: what it said ahead of time does not count
		n--
	}
	x.marks = x.marks[:n]
	if n > 0 && at.Sub(x.marks[n-1].at) < grain {
		return
	}
	before := x.last.at
	if before.After(at) {
		before = at
	}
	x.marks = append(x.marks, mark{ledger: ledger, at: at, before: before})
}

// late makes the marks right for an entry that comes after one above it: the
// outcomes of one batch are put in any order.
func (x *Index) late(ledger int64, at time.Time) {
	i := sort.Search(len(x.marks), func(i int) bool { return x.marks[i].ledger > ledger })
	if i == len(x.marks) {
		return
	}
	grain := x.window / marksPerWindow
	above := &x.marks[i]
	switch {
	case i > 0 && at.Sub(x.marks[i-1].at) < grain: // of the time of the mark below
	case above.at.Sub(at) < grain:
		above.ledger = ledger
		if at.Before(above.at) {
			above.at = at
		}
		return
	default:
		x.marks = slices.Insert(x.marks, i, mark{ledger: ledger, at: at, before: above.before})
		i++
	}
	for ; i < len(x.marks) && x.marks[i].before.Before(at); i++ {
		x.marks[i].before = at
	}
}

// Get returns the entry for k if there is one within the window.
func (x *Index) Get(k Key, now time.Time) (Entry, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e, ok := x.table(k).get(k)
	if !ok || e.Ledger < x.floor(now) {
		return Entry{}, false
	}
	return e, true
}

// Forget drops the entry for k if it still points at the given ledger offset:
// its outcome is gone from the ledger.
func (x *Index) Forget(k Key, ledger int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.table(k).remove(k, ledger)
}

// floor is the ledger offset below which every entry is older than the window.
func (x *Index) floor(now time.Time) int64 {
	if !x.last.at.After(now.Add(-x.window)) {
		return x.last.ledger + 1 // all of it
	}
	young := x.young(now)
	if young == 0 {
		return 0
	}
	return x.marks[young-1].ledger
}

// young is the index of the first mark with an entry of the window below it.
func (x *Index) young(now time.Time) int {
	start := now.Add(-x.window)
	return sort.Search(len(x.marks), func(i int) bool { return x.marks[i].before.After(start) })
}

// Sweep drops the expired entries of a part of the index; called 64 times it
// has visited all of it. Callers spread the calls over a fraction of the window.
func (x *Index) Sweep(now time.Time) {
	for range sweepStep {
		x.sweep(now)
	}
}

func (x *Index) sweep(now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tables[x.next].sweep(x.floor(now), x.near)
	x.next = (x.next + 1) % shards
	if young := x.young(now); x.next == 0 && young > 1 {
		x.marks = append([]mark(nil), x.marks[young-1:]...)
	}
}

// Len is the number of entries, expired ones that were not swept yet included.
func (x *Index) Len() (n int) {
	for i := range x.tables {
		n += x.lenOf(&x.tables[i])
	}
	return n
}

// lenOf holds the others up for one table at a time.
func (x *Index) lenOf(t *table) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	t.settle()
	return t.used
}
