package consumer

import (
	"fmt"
	"time"
)

const (
	watchInterval = time.Second
	// stoppedAfter is how many looks in a row must find a partition stopped, or
	// not, before that is believed.
	stoppedAfter = 2
	// heldUp is how long what a partition has in hand would take to end, at its
	// pace of now, where it counts as held up.
	heldUp = 10 * time.Second
)

// fetchStop is why a partition fetches nothing, and the sub-account whose requests
// leave it no room; empty = several.
type fetchStop struct{ reason, subAccount string }

// watchFetch says when the partition stops fetching because what it has in hand is
// held up and there is no room for more, and when it goes on.
func (s *session) watchFetch() {
	t := time.NewTicker(watchInterval)
	defer t.Stop()
	last, news, said := s.share.pace(), 0, fetchStop{}
	for {
		select {
		case <-t.C:
		case <-s.admit.Done():
			return
		}
		now := s.share.pace()
		stopped := now.stopped(last) && s.writes() // else the ledger is the trouble, and says so itself
		if last = now; stopped == s.stopped.Load() {
			news = 0
		} else if news++; news == stoppedAfter {
			s.stopped.Store(stopped)
			news = 0
		}
		stop := s.fetchStopped()
		switch {
		case stop.reason != "" && (said.reason == "" || stop.subAccount != said.subAccount):
			s.log.Warn().Str("subAccountId", stop.subAccount).Int("paused", s.part.Paused()).Str("reason", stop.reason).Msg("partition fetches nothing more")
		case stop.reason == "" && said.reason != "":
			s.log.Info().Str("subAccountId", said.subAccount).Msg("partition fetches again")
		}
		said = stop
	}
}

// fetchStopped says why nothing is fetched though all is well; it is the zero
// value while the partition fetches, or waits for room that calls under way will make.
func (s *session) fetchStopped() fetchStop {
	if !s.stopped.Load() {
		return fetchStop{}
	}
	stop := s.share.stop()
	if paused := s.part.Paused(); paused > 0 {
		stop.reason += fmt.Sprintf("; %d in hand here are paused by the operator", paused)
	}
	return stop
}

// pace is how a partition gets on.
type pace struct {
	at     time.Time
	waited time.Duration // for room, in all
	ended  int           // records, in all
	inHand int
}

func (s *share) pace() pace {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	p := pace{time.Now(), s.waited, s.ended, s.all.records}
	if s.asks != nil {
		p.waited += p.at.Sub(s.asks.since)
	}
	return p
}

// stopped tells whether a partition did little but wait for room since an earlier
// look, and will do so for long.
func (p pace) stopped(before pace) bool {
	took := p.at.Sub(before.at)
	return 10*(p.waited-before.waited) > 9*took && time.Duration(p.inHand)*took > time.Duration(p.ended-before.ended)*heldUp
}

// why is what a partition waits for.
type why struct {
	sub  string // whose records have the room; empty = that of several
	half bool   // that sub-account's half of the window; else the partition's share
}

// why is what keeps a record from being let in.
func (s *share) why(sub string, size int) why {
	if !s.fitsHalf(sub, size) {
		return why{sub, true}
	}
	for sub, own := range s.by {
		if 2*own.records > s.all.records {
			return why{sub, false}
		}
	}
	return why{}
}

// stop tells what a partition waits for, or has waited for last.
func (s *share) stop() fetchStop {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	why := s.last
	if s.asks != nil {
		why = s.why(s.asks.sub, s.asks.size)
	}
	stop := fetchStop{subAccount: why.sub}
	switch half := s.w.half(why.sub); {
	case why.half:
		stop.reason = fmt.Sprintf("sub-account %s fills its half of the window: %d of %d requests, %d of %d KiB", why.sub,
			half.held.records, half.most.records, half.held.bytes>>10, half.most.bytes>>10)
	case why.sub != "":
		stop.reason = fmt.Sprintf("its share of the window is full: %d of the %d requests in hand are of sub-account %s", s.by[why.sub].records, s.all.records, why.sub)
	default:
		stop.reason = fmt.Sprintf("its share of the window is full: %d requests in hand, of several sub-accounts", s.all.records)
	}
	return stop
}
