package process

import (
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"smscancel/worker"
	"smscancel/worker/admission"
	"smscancel/worker/status"
)

// reportLimits fills in what the limits, breakers and holds do now, and
// refreshes their gauges.
func (p *Process) reportLimits(s *status.Status) {
	snapshot := p.admission.Snapshot()
	p.metrics.Hold.Reset() // reportHeld adds its own
	s.Destination = p.door("", snapshot.Destination)
	s.SubAccounts = make([]status.SubAccount, 0, len(snapshot.SubAccounts))
	for _, sub := range snapshot.SubAccounts {
		s.SubAccounts = append(s.SubAccounts, status.SubAccount{
			SubAccountID: sub.ID, Waiting: sub.Waiting, InFlight: sub.InFlight, Slots: sub.Slots,
			Oldest: unlessZero(sub.Oldest), Door: p.door(sub.ID, sub.Door),
		})
	}
	w := snapshot.Waiting
	for reason, n := range map[string]int{
		"budget": w.Budget, "breaker": w.Breaker, "hold": w.Hold, "pause": w.Pause, "limit": w.Limit, "slot": w.Slot,
	} {
		p.metrics.Waiting.WithLabelValues(reason).Set(float64(n))
	}
}

// reportStopped names the partitions that fetch nothing at each sub-account whose
// requests leave them no room.
func (p *Process) reportStopped(s *status.Status) {
	p.settings.mu.Lock()
	live := p.settings.live
	p.settings.mu.Unlock()
	for _, part := range s.Partitions {
		if part.FetchStoppedBy != "" {
			sub := shown(s, part.FetchStoppedBy, &live)
			sub.FetchStopped = append(sub.FetchStopped, fmt.Sprintf("%s/%d", part.Topic, part.Partition))
		}
	}
}

const (
	open  = "open"
	pause = "pause"
)

func (p *Process) door(subAccountID string, d admission.Door) status.Door {
	shown := status.Door{
		RateUsed: d.RateUsed, RateAllowed: d.RateAllowed, State: open, Reason: said(d.Detail),
		Since: unlessZero(d.Since), NextProbe: unlessZero(d.NextProbe), PausedUntil: unlessZero(d.PausedUntil),
	}
	if !d.PausedUntil.IsZero() {
		shown.State = pause
		p.metrics.Hold.WithLabelValues(subAccountID, pause).Set(1)
	}
	if d.Shut != "" {
		shown.State = string(d.Shut)
		p.metrics.Hold.WithLabelValues(subAccountID, shown.State).Set(1)
	}
	return shown
}

// explain tells what keeps the oldest request from its call.
func explain(s *status.Status) {
	if s.Oldest == nil || s.Oldest.WaitsFor != worker.WaitsForAdmission {
		return
	}
	s.Oldest.WaitsFor = "limit or slot"
	doors := []status.Door{s.Destination}
	for _, sub := range s.SubAccounts {
		if sub.SubAccountID == s.Oldest.SubAccountID {
			doors = append(doors, sub.Door)
		}
	}
	for _, d := range doors {
		if d.State != open {
			s.Oldest.WaitsFor = d.State
		}
	}
}

// said is what the API said when it refused.
func said(detail any) string {
	if e, ok := detail.(*worker.Error); ok && e != nil {
		return e.Message
	}
	return ""
}

func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// changed logs that calls are held back, or go out again: once, and not for
// every call.
func (p *Process) changed(c admission.Change) {
	subject := func(line *zerolog.Event) *zerolog.Event {
		if c.SubAccountID == "" {
			return line.Str("subAccountId", "all")
		}
		return line.Str("subAccountId", c.SubAccountID)
	}
	if c.Reason == "" {
		subject(p.log.Info()).Str("was", string(c.Was)).Stringer("for", time.Since(c.Since).Round(time.Millisecond)).Msg("calls go out again")
		return
	}
	line := subject(p.log.Warn()).Str("reason", string(c.Reason))
	if e, ok := c.Detail.(*worker.Error); ok && e != nil {
		line = line.Str("kind", string(e.Kind)).Int("httpStatus", e.HTTPStatus).Str("errorId", e.ErrorID).Str("error", e.Message)
	}
	line.Msg("only probes go out")
}
