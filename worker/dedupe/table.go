package dedupe

import (
	"math"
	"math/bits"
	"slices"
)

// table is a part of the index: slots in the order of their keys, each as near
// behind the place that its key names as those before it allow. A lookup reads a
// few neighbours, and a larger table is filled in one pass from the smaller. It
// has no pointers inside, so the garbage collector never walks it.
//
// A slot is 24 bytes. Tables grow by a quarter at a time when 9 of 10 slots are in
// use, and not all at the same time: so a large index takes less than 32 bytes an
// entry at any time (a test measures it).
//
// Entries wait until they are enough to be put in together, or until somebody
// asks: an entry alone waits for its place to come out of the memory, many wait
// at the same time. That is what a replay is mostly made of.
type table struct {
	slots []slot
	span  uint64 // of the places that keys name; the slots behind it are for those that were pushed on
	used  int
	base  origin
	phase float64 // what its sizes are multiples of

	waiting []slot // in the order in which they came
	touched uint32 // keeps the compiler from leaving out what settle reads ahead
}

// slot is one entry: its key but for the bits that chose the table, and its
// numbers. Those of the log are counted from the table's origin. Without an
// answer it is empty.
type slot struct {
	high   uint64 // Key[0]
	low    uint64 // the lower bits of Key[1] << timeBits | timestamp
	ledger uint32
	offset uint32 // offset << answerBits | answer
}

// origin is what the offsets of a table are counted from.
type origin struct{ ledger, offset int64 }

const (
	timeBits   = 42 // milliseconds up to the year 2109
	answerBits = 2
	offsetBits = 32 - answerBits

	// lateness is how far in the ledger an entry may come behind its table's
	// first one: the outcomes of a batch are put in any order.
	lateness = 1 << 16

	leastSize = 4    // slots
	growth    = 1.25 // of a table
	crowd     = 512  // so many are put in together
	keptRoom  = 8    // of those who wait is kept
)

// newTable returns an empty table, one of a number.
func newTable(i, of int) table {
	return table{phase: leastSize * math.Pow(growth, float64(i)/float64(of))}
}

func lowOf(k Key) uint64 { return k[1] << timeBits }

func (s *slot) key() Key { return Key{s.high, s.low >> timeBits} }

func (s *slot) empty() bool { return s.answer() == None }

func (s *slot) answer() Answer { return Answer(s.offset & (1<<answerBits - 1)) }

func (s *slot) before(k Key) bool {
	return s.high < k[0] || s.high == k[0] && s.low>>timeBits < lowOf(k)>>timeBits
}

func (s *slot) is(k Key) bool { return s.high == k[0] && s.low>>timeBits == lowOf(k)>>timeBits }

// near tells whether an offset of the request partition is well in reach.
func (o origin) near(offset int64) bool {
	return max(offset-o.offset, o.offset-offset) < 1<<(offsetBits-3)
}

// slot is the entry as it stands in a table. Where it cannot hold which request
// record it was, the answer has to be read back: that has a timestamp of no time
// around ours, or an offset far from its neighbours, as of a topic that was
// created again. It does not fit where the ledger offset is out of reach.
func (o origin) slot(k Key, e Entry) (s slot, fits bool) {
	ledger, offset := e.Ledger-o.ledger, e.Offset-o.offset
	if e.Answer == ReadBack || offset != offset<<(64-offsetBits)>>(64-offsetBits) || e.Timestamp != e.Timestamp&(1<<timeBits-1) {
		e.Answer, e.Timestamp, offset = ReadBack, 0, 0
	}
	return slot{
		high: k[0], low: lowOf(k) | uint64(e.Timestamp), ledger: uint32(ledger), offset: uint32(offset)<<answerBits | uint32(e.Answer),
	}, ledger == int64(uint32(ledger))
}

// entry is what a slot holds. The request record of an answer that has to be
// read back is not known.
func (o origin) entry(s slot) Entry {
	e := Entry{Ledger: o.ledger + int64(s.ledger), Answer: s.answer()}
	if e.Answer != ReadBack {
		e.Offset, e.Timestamp = o.offset+int64(int32(s.offset)>>answerBits), int64(s.low&(1<<timeBits-1))
	}
	return e
}

// get returns the entry for k.
func (t *table) get(k Key) (Entry, bool) {
	t.settle()
	i, found := t.find(k)
	if !found {
		return Entry{}, false
	}
	return t.base.entry(t.slots[i]), true
}

// put remembers e; a newer entry replaces an older one. near is the request
// record's offset of the newest of all.
func (t *table) put(k Key, e Entry, near int64) {
	if t.used+len(t.waiting) == 0 {
		t.base = origin{e.Ledger - lateness, near}
	}
	s, fits := t.base.slot(k, e)
	if !fits {
		t.settle()
		t.recount(e.Ledger, 0, near)
		if s, fits = t.base.slot(k, e); !fits { // four billion outcomes lie between
			*t = table{phase: t.phase, base: origin{e.Ledger - lateness, near}}
			s, _ = t.base.slot(k, e)
		}
	}
	if t.waiting = append(t.waiting, s); len(t.waiting) == crowd {
		t.settle()
	}
}

// settle puts those who wait into their places.
func (t *table) settle() {
	if len(t.waiting) == 0 {
		return
	}
	if room := t.used + len(t.waiting); room > most(len(t.slots)) {
		t.move(room, t.base, 0)
	}
	for i := range t.waiting {
		t.touched ^= t.slots[t.home(t.waiting[i].high)].ledger
	}
	for i := range t.waiting {
		s := &t.waiting[i]
		place, found := t.find(s.key())
		switch {
		case !found:
			t.insert(place, s)
		case t.slots[place].ledger <= s.ledger:
			t.slots[place] = *s
		}
	}
	t.waiting = t.waiting[:0]
	if cap(t.waiting) > keptRoom {
		t.waiting = nil
	}
}

// remove forgets the entry for k if it points at a ledger offset.
func (t *table) remove(k Key, ledger int64) {
	t.settle()
	i, found := t.find(k)
	if !found || t.base.entry(t.slots[i]).Ledger != ledger {
		return
	}
	for ; i+1 < len(t.slots) && !t.slots[i+1].empty() && t.home(t.slots[i+1].high) <= i; i++ {
		t.slots[i] = t.slots[i+1]
	}
	t.slots[i] = slot{}
	t.used--
}

// home is the place that a key names. It grows with the key.
func (t *table) home(high uint64) int {
	place, _ := bits.Mul64(high, t.span)
	return int(place)
}

// find returns where the entry for k stands, or where it should.
func (t *table) find(k Key) (place int, found bool) {
	for place = t.home(k[0]); place < len(t.slots); place++ {
		s := &t.slots[place]
		if s.empty() || !s.before(k) {
			return place, !s.empty() && s.is(k)
		}
	}
	return place, false
}

// insert puts a slot at its place, and those behind it up to the next empty one
// a place further.
func (t *table) insert(place int, s *slot) {
	end := place
	for end < len(t.slots) && !t.slots[end].empty() {
		end++
	}
	if end == len(t.slots) { // many were pushed on
		t.move(most(len(t.slots))+1, t.base, 0)
		place, _ = t.find(s.key())
		t.insert(place, s)
		return
	}
	copy(t.slots[place+1:end+1], t.slots[place:end])
	t.slots[place] = *s
	t.used++
}

// most is how many entries a table of a size holds before it grows.
func most(slots int) int { return slots * 9 / 10 }

// size is that of a table with room for so many entries.
func (t *table) size(entries int) int {
	size := t.phase
	for most(int(size)) < entries {
		size *= growth
	}
	return int(size)
}

// move fills a new table that has room for so many entries with what stands at a
// ledger offset or beyond it, counted from another origin.
func (t *table) move(room int, base origin, floor int64) {
	old := *t
	t.slots = slices.Grow([]slot(nil), t.size(room))
	t.slots = t.slots[:cap(t.slots)] // all that the allocator gives
	t.span, t.used, t.base = uint64(len(t.slots)-spare(len(t.slots))), 0, base
	next := 0
	for _, s := range old.slots {
		if s.empty() {
			continue
		}
		if floor > 0 || base != old.base {
			e := old.base.entry(s)
			if e.Ledger < floor {
				continue
			}
			s, _ = base.slot(s.key(), e)
		}
		next = max(next, t.home(s.high))
		if next == len(t.slots) { // more were pushed on than there is room for
			room = most(len(t.slots)) + 1
			*t = old
			t.move(room, base, floor)
			return
		}
		t.slots[next] = s
		next++
		t.used++
	}
}

// spare is how many slots a table keeps behind the last place that a key names.
func spare(slots int) int { return min(2*bits.Len(uint(slots)), slots/2) }

// sweep drops what stands below a ledger offset.
func (t *table) sweep(floor int64, near int64) {
	t.settle()
	expired := 0
	for i := range t.slots {
		if s := &t.slots[i]; !s.empty() && t.base.ledger+int64(s.ledger) < floor {
			expired++
		}
	}
	switch {
	case t.used == 0:
	case expired == t.used:
		*t = table{phase: t.phase}
	case expired > 0 || !t.base.near(near):
		t.recount(math.MaxInt64, floor, near)
	}
}

// recount drops what stands below floor, and gives the numbers of the others an
// origin that suits them, an entry at a ledger offset, and those to come.
func (t *table) recount(ledger, floor int64, near int64) {
	left := 0
	for i := range t.slots {
		if at := t.base.ledger + int64(t.slots[i].ledger); !t.slots[i].empty() && at >= floor {
			ledger = min(ledger, at)
			left++
		}
	}
	t.move(left, origin{ledger - lateness, near}, floor)
}
