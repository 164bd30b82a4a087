package consumer

import (
	"context"
	"sync"
)

// window bounds the records in hand over all partitions, shared fairly: each
// partition may hold its share, and always one record. A full share stops that
// partition's fetch, and so does a full window: a partition that was alone may
// hold more than its share when others join. It is the only backpressure there is.
type window struct {
	records int
	bytes   int

	mu      sync.Mutex
	members map[*share]struct{}
	held    struct{ records, bytes int } // by all members
}

// share is one partition's part of the window.
type share struct {
	w       *window
	records int
	bytes   int
	blocked bool          // waits for room
	freed   chan struct{} // capacity 1
}

func newWindow(records, bytes int) *window {
	return &window{records: records, bytes: bytes, members: map[*share]struct{}{}}
}

// join adds a partition; every share shrinks accordingly.
func (w *window) join() *share {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &share{w: w, freed: make(chan struct{}, 1)}
	w.members[s] = struct{}{}
	return s
}

// leave removes a partition; every share grows accordingly.
func (s *share) leave() {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	delete(s.w.members, s)
	s.w.held.records -= s.records
	s.w.held.bytes -= s.bytes
	for other := range s.w.members {
		other.nudge()
	}
}

// acquire waits for room for one record of the given size. A record larger
// than a share is admitted alone.
func (s *share) acquire(ctx context.Context, size int) error {
	for {
		if s.tryAcquire(size) {
			return nil
		}
		select {
		case <-s.freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *share) tryAcquire(size int) bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	w, n := s.w, max(len(s.w.members), 1)
	own := s.records < w.records/n && s.bytes+size <= w.bytes/n
	all := w.held.records < w.records && w.held.bytes+size <= w.bytes
	s.blocked = s.records > 0 && !(own && all)
	if !s.blocked {
		s.add(1, size)
	}
	return !s.blocked
}

func (s *share) add(records, bytes int) {
	s.records += records
	s.bytes += bytes
	s.w.held.records += records
	s.w.held.bytes += bytes
}

// maxBytes is how many bytes of records this partition may hold.
func (s *share) maxBytes() int {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.w.bytes / max(len(s.w.members), 1)
}

// state is how many records the partition holds, and whether it waits for room.
func (s *share) state() (records int, blocked bool) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return s.records, s.blocked
}

func (s *share) release(size int) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.add(-1, -size)
	n := max(len(s.w.members), 1)
	for other := range s.w.members {
		if other.blocked && (other == s || other.records < s.w.records/n) {
			other.nudge()
		}
	}
}

func (s *share) nudge() {
	select {
	case s.freed <- struct{}{}:
	default:
	}
}
