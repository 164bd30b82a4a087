package dedupe

import (
	"context"
	"sync"
)

// Claims puts the records of one message in line: the first holds the claim,
// the others wait for their turn in the order in which they entered. A is what
// a finished record tells those that already wait. It is safe for concurrent use.
type Claims[A any] struct {
	mu    sync.Mutex
	lines map[Key]*line[A]
}

// line is the queue of one message; its head holds the claim.
type line[A any] struct{ head, tail *Turn[A] }

// Turn is one record's place in line.
type Turn[A any] struct {
	claims *Claims[A]
	key    Key
	force  bool
	next   *Turn[A]
	ready  chan struct{} // closed when the turn has come; nil when it came at once
	answer *A
	left   bool
}

// NewClaims returns an empty set of lines.
func NewClaims[A any]() *Claims[A] { return &Claims[A]{lines: map[Key]*line[A]{}} }

// Enter takes the next place in the line of k. A forced record is never
// answered by the one before it.
func (c *Claims[A]) Enter(k Key, force bool) *Turn[A] {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &Turn[A]{claims: c, key: k, force: force}
	l := c.lines[k]
	if l == nil {
		c.lines[k] = &line[A]{head: t, tail: t}
		return t
	}
	t.ready = make(chan struct{})
	l.tail.next, l.tail = t, t
	return t
}

// Waits tells whether an earlier record of the message was in line.
func (t *Turn[A]) Waits() bool { return t.ready != nil }

// Wait returns when the turn has come, with the answer that an earlier record
// left for those who waited for it, if any.
func (t *Turn[A]) Wait(ctx context.Context) (*A, error) {
	if t.ready == nil {
		return nil, ctx.Err()
	}
	select {
	case <-t.ready:
		return t.answer, ctx.Err()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Leave ends the turn and gives the claim to the next in line. A non-nil
// answer goes to everybody who waits now, up to the first forced record: that
// one's own answer replaces it. Leaving twice, or out of turn, is harmless.
func (t *Turn[A]) Leave(answer *A) {
	c := t.claims
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.left {
		return
	}
	t.left = true
	l := c.lines[t.key]
	if l.head != t {
		return // gave up waiting; skipped when the line gets there
	}
	for w := t.next; answer != nil && w != nil && !w.force; w = w.next {
		w.answer = answer
	}
	for l.head = t.next; l.head != nil && l.head.left; l.head = l.head.next {
	}
	if l.head == nil {
		delete(c.lines, t.key)
		return
	}
	close(l.head.ready)
}
