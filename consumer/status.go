package consumer

import (
	"fmt"
	"sort"
	"strconv"
	"time"

	"smscancel/worker/status"
)

// Report fills in what the consumer knows of a status, and refreshes the
// gauges of lag, age and dedupe entries.
func (c *Consumer) Report(s *status.Status) {
	c.mu.Lock()
	holds := make([]*hold, 0, len(c.holds))
	for _, h := range c.holds {
		holds = append(holds, h)
	}
	if c.member != nil {
		s.Generation = c.member.ID
	}
	s.Reason = c.absence()
	c.mu.Unlock()
	sort.Slice(holds, func(i, j int) bool {
		a, b := holds[i].tp, holds[j].tp
		return a.topic < b.topic || a.topic == b.topic && a.partition < b.partition
	})
	m := c.Handler.Metrics
	m.Lag.Reset()
	m.FetchStopped.Reset()
	entries := 0
	for _, h := range holds {
		p := h.report(s)
		m.Lag.WithLabelValues(p.Topic, strconv.Itoa(p.Partition)).Set(float64(p.Lag))
		stopped := 0.0
		if p.FetchStopped != "" {
			stopped = 1
		}
		m.FetchStopped.WithLabelValues(p.Topic, strconv.Itoa(p.Partition), p.FetchStoppedBy).Set(stopped)
		entries += p.Dedupe
		if (p.Reason != "" || p.State == string(StateTakeover)) && s.Reason == "" {
			s.Reason = fmt.Sprintf("partition %s/%d: %s %s", p.Topic, p.Partition, p.State, p.Reason)
		}
		s.Partitions = append(s.Partitions, p)
	}
	m.DedupeEntries.Set(float64(entries))
	m.OldestAge.Set(0)
	if s.Oldest != nil {
		m.OldestAge.Set(max(time.Since(s.Oldest.Timestamp).Seconds(), 0))
	}
	s.Ready = s.Reason == ""
}

// absence is why this replica takes no part in the group, as it should; empty if
// it does, or is out for a short while only: a rebalance, or a coordinator that
// moves. c.mu is held.
func (c *Consumer) absence() string {
	out := time.Duration(0)
	if !c.outside.IsZero() {
		out = time.Since(c.outside)
	}
	switch {
	case c.stopping:
		return "stopping"
	case c.member == nil:
		return "not in the group: " + c.trouble
	case out > c.SessionTimeout+unwellAfter:
		return fmt.Sprintf("out of the group for %s: %s", out.Round(time.Second), c.trouble)
	}
	return ""
}

func (h *hold) report(s *status.Status) status.Partition {
	h.mu.Lock()
	p := status.Partition{Topic: h.tp.topic, Partition: h.tp.partition, State: string(h.state), Reason: h.reason, Since: h.since}
	session, at, to := h.session, h.replayAt, h.replayTo
	h.mu.Unlock()
	if session == nil {
		if p.State == string(StateTakeover) && to > 0 {
			if s.Replay == nil {
				s.Replay = &status.Replay{}
			}
			s.Replay.Read += at
			s.Replay.Total += to
		}
		return p
	}
	if p.State == string(StateRunning) {
		stop := session.fetchStopped()
		p.Reason, p.FetchStopped, p.FetchStoppedBy = session.unwell(), stop.reason, stop.subAccount
	}
	_, p.Epoch = session.ledger.Identity()
	p.Watermark, p.End = session.tracker.progress().watermark, session.end.Load()
	p.Lag = max(p.End-p.Watermark, 0)
	p.InHand, p.Paused, p.Dedupe = session.tracker.inHand(), session.part.Paused(), session.part.Index.Len()
	id, job, ok := session.tracker.oldest()
	if !ok {
		return p
	}
	stamp := time.UnixMilli(id.Timestamp)
	p.Oldest = &stamp
	if s.Oldest == nil || stamp.Before(s.Oldest.Timestamp) {
		s.Oldest = &status.Oldest{Topic: h.tp.topic, Partition: h.tp.partition, Offset: id.Offset, Timestamp: stamp}
		if job != nil {
			s.Oldest.SubAccountID, s.Oldest.WaitsFor = job.SubAccountID(), job.Stage()
		}
	}
	return p
}
