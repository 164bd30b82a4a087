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

// Key is a keyed 128-bit hash of a target. 64 bits would collide within a
// large window; the seeds are of this process, so nobody can make ids collide.
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
	Offset    int64 // of the request record that the outcome belongs to
	Timestamp int64 // of that record, Unix milliseconds; with Offset it names the outcome
	Answer    Answer
}

type slot struct {
	ledger    uint64 // offset << 8 | answer
	offset    int64
	timestamp int64
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
	shards         = 64   // a sweep visits one at a time, so it never blocks for long
)

// Index holds the settled messages of the dedupe window. It is safe for
// concurrent use.
type Index struct {
	window time.Duration

	mu    sync.RWMutex
	slots [shards]map[Key]slot
	marks []mark
	last  mark // of the newest entry
	next  int  // shard to sweep next
}

// NewIndex returns an empty index of entries not older than window.
func NewIndex(window time.Duration) *Index {
	x := &Index{window: window, last: mark{ledger: -1}}
	for i := range x.slots {
		x.slots[i] = map[Key]slot{}
	}
	return x
}

// Put remembers e, written to the ledger at the given time; a newer entry
// replaces an older one.
func (x *Index) Put(k Key, e Entry, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.mark(e.Ledger, at)
	if e.Ledger > x.last.ledger {
		x.last = mark{ledger: e.Ledger, at: at}
	}
	shard := x.slots[k[0]%shards]
	if old, ok := shard[k]; ok && int64(old.ledger>>8) > e.Ledger {
		return
	}
	shard[k] = slot{ledger: uint64(e.Ledger)<<8 | uint64(e.Answer), offset: e.Offset, timestamp: e.Timestamp}
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
	x.mu.RLock()
	defer x.mu.RUnlock()
	s, ok := x.slots[k[0]%shards][k]
	if !ok || int64(s.ledger>>8) < x.floor(now) {
		return Entry{}, false
	}
	return Entry{Ledger: int64(s.ledger >> 8), Offset: s.offset, Timestamp: s.timestamp, Answer: Answer(s.ledger & 0xff)}, true
}

// Forget drops the entry for k if it still points at the given ledger offset:
// its outcome is gone from the ledger.
func (x *Index) Forget(k Key, ledger int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	shard := x.slots[k[0]%shards]
	if s, ok := shard[k]; ok && int64(s.ledger>>8) == ledger {
		delete(shard, k)
	}
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
	x.mu.Lock()
	defer x.mu.Unlock()
	floor := x.floor(now)
	shard := x.slots[x.next]
	for k, s := range shard {
		if int64(s.ledger>>8) < floor {
			delete(shard, k)
		}
	}
	x.next = (x.next + 1) % shards
	if young := x.young(now); x.next == 0 && young > 1 {
		x.marks = append([]mark(nil), x.marks[young-1:]...)
	}
}

// Len is the number of entries, expired ones that were not swept yet included.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := 0
	for _, shard := range x.slots {
		n += len(shard)
	}
	return n
}
