package consumer

import (
	"context"
	"errors"
	"time"

	"smscancel/worker"
)

const (
	stallLimit   = time.Second // no call starts while an append has waited longer
	permitPoll   = 10 * time.Millisecond
	proveTimeout = 10 * time.Second
)

// Wait blocks until a call for the record at offset may start: its lease is
// durable, no append is overdue, and the hold on the ledger was confirmed
// within the session timeout. It implements worker.Permit.
func (s *session) Wait(ctx context.Context, offset int64) error {
	for {
		changed := s.change()
		if s.Holds(offset) {
			return nil
		}
		leased := s.lease.covers(offset)
		if leased {
			s.block() // by the ledger: watchPermit looks after it
		} else if s.lease.want(offset) {
			s.c.requestCommit()
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
		if leased {
			s.blocked.Add(-1)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (s *session) block() {
	s.blocked.Add(1)
	select {
	case s.wakePermit <- struct{}{}:
	default:
	}
}

// watchPermit wakes those who wait for the ledger when it is in reach and ours
// again, and has the hold confirmed if nothing else has done so lately.
func (s *session) watchPermit() {
	for s.work.Err() == nil {
		select {
		case <-s.wakePermit:
		case <-s.work.Done():
		}
		for s.work.Err() == nil && s.blocked.Load() > 0 {
			switch {
			case s.stale():
				s.prove()
			case s.writes():
				s.signal()
			}
			worker.Sleep(s.work, permitPoll)
		}
	}
}

// Holds is the same question at the moment of sending. It implements worker.Permit.
func (s *session) Holds(offset int64) bool {
	select {
	case <-s.ledger.Failed():
		return false
	default:
	}
	return s.admit.Err() == nil && s.lease.covers(offset) && s.writes() && !s.stale()
}

// writes tells whether outcomes can be written, as far as is known.
func (s *session) writes() bool {
	return s.ledger.Stalled() <= stallLimit && !errors.Is(s.ledger.Trouble(), worker.ErrNotPermitted)
}

// stale tells whether nothing has confirmed this session within the session
// timeout. A commit confirms nothing: it is not fenced, and another group's
// member may have taken the ledger.
func (s *session) stale() bool { return s.ledger.Proven() >= s.c.SessionTimeout }

// prove asks the broker in the background whether the ledger is still ours.
func (s *session) prove() {
	if !s.proving.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer s.proving.Store(false)
		ctx, cancel := context.WithTimeout(s.work, proveTimeout)
		defer cancel()
		err := s.ledger.Prove(ctx)
		switch {
		case s.work.Err() != nil:
		case err != nil && !s.unproven.Swap(true):
			s.log.Warn().Err(err).Msg("cannot confirm the hold on the ledger; no call starts")
		case err == nil && s.unproven.Swap(false):
			s.log.Info().Msg("the hold on the ledger is confirmed again")
		}
	}()
}

func (s *session) change() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *session) signal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}
