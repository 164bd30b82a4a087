package consumer

import (
	"math"
	"sync"
)

// leaseStep is how many records are leased ahead with one commit.
const leaseStep = 1000

// leaseUnknown is a lease that nobody can tell: any record may have been called.
const leaseUnknown = math.MaxInt64

// lease says how far DELETE calls may have been started. It is made durable
// ahead of the calls, so that after a crash the next owner knows which records
// may have been called. It is safe for concurrent use.
type lease struct {
	mu        sync.Mutex
	inherited int64 // found at the takeover; never committed below it. -1 = none
	asked     int64 // to be made durable next
	held      int64 // asked by this session and durable; calls at or below it may start
	open      int64 // highest record of this session that was called and has no outcome
}

func newLease(inherited int64) *lease {
	return &lease{inherited: inherited, asked: -1, held: -1, open: -1}
}

// covers tells whether a call for the record at offset may start.
func (l *lease) covers(offset int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return offset <= l.held
}

// want notes that records up to offset are in hand. It reports whether the
// lease should be renewed now, half a step before it runs out.
func (l *lease) want(offset int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset+leaseStep/2 <= l.asked {
		return false
	}
	l.asked = offset + leaseStep
	return true
}

// called notes a record that was called and is handed back without an outcome.
func (l *lease) called(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = max(l.open, offset)
}

// renewal is the lease to commit next, and how far this session may call once
// that commit is acknowledged.
func (l *lease) renewal() (lease, own int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.inherited, l.asked), l.asked
}

// settle replaces the inherited lease by what has turned out to be left of it.
func (l *lease) settle(inherited int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inherited = inherited
}

// trimmed is the lease to leave behind when no call is in hand any more: what
// was inherited, and what this session called without learning the end.
func (l *lease) trimmed() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.inherited, l.open)
}

// durable notes that the commit of a lease was acknowledged which lets this
// session call up to own.
func (l *lease) durable(own int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = max(l.held, own)
}
