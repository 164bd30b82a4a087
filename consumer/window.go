package consumer

import (
	"context"
	"slices"
	"sync"
	"time"
)

// window bounds the records in hand over all partitions. It is the only
// backpressure there is: a partition whose next record gets no room fetches
// nothing more, and the others go on.
//
// A sub-account has half of the window at most, so that one whose requests are
// held up leaves room to the others. A quarter of the window, and of each such
// half, is kept for the partitions, evenly by lane and then by partition, also for
// those that are not here yet: no backlog, however large and long, keeps another
// lane or partition from its part. The rest is for whoever asks first. One record
// of each partition is always let in.
type window struct {
	mu      sync.Mutex
	whole   room
	halves  map[string]*room // by sub-account, of those that have records in hand
	members map[*share]struct{}
	waiting []*share // the longest wait first
}

// room is a part of the window: all of it, or a sub-account's half.
type room struct {
	most   load
	held   load
	pooled load // of held: beyond what is kept for the partitions that hold it
}

// load is a number of records, and of bytes of their values.
type load struct{ records, bytes int }

// keptPart of a room is kept for the partitions.
const keptPart = 4

// lets tells whether a partition that holds own of the room, and has a part of
// what is kept, may take another record.
func (r *room) lets(own load, part float64, size int) bool {
	kept := r.kept(part)
	before := own.beyond(kept)
	own.add(load{1, size})
	after := own.beyond(kept)
	records, bytes := after.records-before.records, after.bytes-before.bytes
	return (records == 0 || r.pooled.records+records <= r.most.records*(keptPart-1)/keptPart) &&
		(bytes == 0 || r.pooled.bytes+bytes <= r.most.bytes*(keptPart-1)/keptPart)
}

// add notes that a partition's load has changed.
func (r *room) add(own load, part float64, more load) {
	kept := r.kept(part)
	before := own.beyond(kept)
	own.add(more)
	after := own.beyond(kept)
	r.held.add(more)
	r.pooled.add(load{after.records - before.records, after.bytes - before.bytes})
}

// kept is what is kept for a partition.
func (r *room) kept(part float64) load {
	return load{max(int(float64(r.most.records/keptPart)*part), 1), int(float64(r.most.bytes/keptPart) * part)}
}

func (l *load) add(more load) {
	l.records += more.records
	l.bytes += more.bytes
}

// beyond is how much more l is than kept.
func (l load) beyond(kept load) load {
	return load{max(l.records-kept.records, 0), max(l.bytes-kept.bytes, 0)}
}

// share is one partition's part of the window.
type share struct {
	w    *window
	part float64 // of what is kept
	all  load
	by   map[string]load // by sub-account
	asks *asking         // what it waits for; nil = nothing

	waited time.Duration // for room, in all; without the wait that goes on
	ended  int           // records that it had in hand
	last   why           // what it waited for last
}

// asking is a partition that waits for room for one record.
type asking struct {
	sub     string
	size    int
	since   time.Time
	granted chan struct{}
}

func newWindow(records, bytes int) *window {
	return &window{whole: room{most: load{records, bytes}}, halves: map[string]*room{}, members: map[*share]struct{}{}}
}

// join adds a partition that has a part of what is kept, 0 to 1.
func (w *window) join(part float64) *share {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &share{w: w, part: part, by: map[string]load{}}
	w.members[s] = struct{}{}
	return s
}

// leave removes a partition and what it holds.
func (s *share) leave() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	delete(s.w.members, s)
	for sub, held := range s.by {
		s.add(sub, load{-held.records, -held.bytes})
	}
	s.w.grant()
}

// acquire waits for room for one record of a sub-account, empty for a record that
// names none. A record larger than a share is let in alone.
func (s *share) acquire(ctx context.Context, sub string, size int) error {
	asks := s.ask(sub, size)
	if asks == nil {
		return nil
	}
	select {
	case <-asks.granted:
		return nil
	case <-ctx.Done():
		s.giveUp(asks)
		return ctx.Err()
	}
}

// ask lets a record in if there is room, or else begins to wait.
func (s *share) ask(sub string, size int) *asking {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.fits(sub, size) {
		s.add(sub, load{1, size})
		return nil
	}
	s.asks = &asking{sub: sub, size: size, since: time.Now(), granted: make(chan struct{})}
	s.last = s.why(sub, size)
	s.w.waiting = append(s.w.waiting, s)
	return s.asks
}

// giveUp takes back a wait, or what it was granted at the same instant.
func (s *share) giveUp(asks *asking) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if s.asks != asks {
		s.add(asks.sub, load{-1, -asks.size})
		s.w.grant()
		return
	}
	s.asks = nil
	s.w.waiting = slices.DeleteFunc(s.w.waiting, func(other *share) bool { return other == s })
}

// release gives the room of one record back.
func (s *share) release(sub string, size int) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.add(sub, load{-1, -size})
	s.ended++
	s.w.grant()
}

// grant lets the records in for which there is room now. Who gets none is not
// woken.
func (w *window) grant() {
	w.waiting = slices.DeleteFunc(w.waiting, func(s *share) bool {
		asks := s.asks
		if !s.fits(asks.sub, asks.size) {
			return false
		}
		s.add(asks.sub, load{1, asks.size})
		s.asks, s.waited = nil, s.waited+time.Since(asks.since)
		close(asks.granted)
		return true
	})
}

func (s *share) fits(sub string, size int) bool {
	return s.all.records == 0 || s.w.whole.lets(s.all, s.part, size) && s.fitsHalf(sub, size)
}

func (s *share) fitsHalf(sub string, size int) bool {
	return sub == "" || s.w.half(sub).lets(s.by[sub], s.part, size)
}

// half is a sub-account's part of the window.
func (w *window) half(sub string) *room {
	if r, ok := w.halves[sub]; ok {
		return r
	}
	return &room{most: load{max(w.whole.most.records/2, 1), w.whole.most.bytes / 2}}
}

func (s *share) add(sub string, more load) {
	s.w.whole.add(s.all, s.part, more)
	s.all.add(more)
	own := s.by[sub]
	if half := s.w.half(sub); sub != "" {
		half.add(own, s.part, more)
		keepIf(half.held.records > 0, s.w.halves, sub, half)
	}
	own.add(more)
	keepIf(own.records > 0, s.by, sub, own)
}

// keepIf forgets what is empty: ids come with the requests, so their number knows
// no bound.
func keepIf[V any](some bool, m map[string]V, id string, v V) {
	if some {
		m[id] = v
	} else {
		delete(m, id)
	}
}

// maxBytes is how many bytes of records this partition had better fetch at once.
func (s *share) maxBytes() int {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.w.whole.most.bytes / max(len(s.w.members), 1)
}
