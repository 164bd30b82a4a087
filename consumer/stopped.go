package consumer

import (
	"fmt"
	"time"
)

// watchFetch says when the partition stops fetching because what is held back
// fills its share of the window, and when it goes on.
func (s *session) watchFetch() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	said := false
	for {
		select {
		case <-t.C:
		case <-s.admit.Done():
			return
		}
		reason := s.fetchStopped()
		switch {
		case reason != "" && !said:
			s.log.Warn().Int("paused", s.part.Paused()).Str("reason", reason).Msg("partition fetches nothing more")
		case reason == "" && said:
			s.log.Info().Msg("partition fetches again")
		}
		said = reason != ""
	}
}

// fetchStopped says why nothing is fetched though all is well; empty while the
// partition fetches, or waits for room that calls under way will make.
func (s *session) fetchStopped() string {
	inHand, blocked := s.share.state()
	paused := s.part.Paused()
	if !blocked || 2*paused < inHand {
		return ""
	}
	return fmt.Sprintf("its share of the window is full: %d of the %d requests in hand are paused by the operator", paused, inHand)
}
