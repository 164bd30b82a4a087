package admission

import (
	"math/rand/v2"
	"time"
)

// Reason is why a gate is shut.
type Reason string

const (
	ReasonBreaker Reason = "breaker" // too many calls fail, or take too long
	ReasonAuth    Reason = "auth"    // the API refuses the key
	ReasonUpgrade Reason = "upgrade" // the API wants another TLS version
)

const (
	firstProbe = 500 * time.Millisecond
	lastProbe  = 5 * time.Second // probes are never further apart
)

// gate lets single probes out while it is shut, and everything when it is open.
type gate struct {
	reason  Reason // empty when open
	detail  any    // what the API said
	since   time.Time
	step    time.Duration
	sent    time.Time // the last probe
	probeAt time.Time // the next one
	opened  time.Time // when it opened last; calls from before say nothing any more
}

func (g *gate) isShut() bool { return g.reason != "" }

// holds tells whether it is the key that is refused, which people must mend.
func (g *gate) holds() bool { return g.reason == ReasonAuth || g.reason == ReasonUpgrade }

// shut shuts the gate, or gives another reason why it is. It tells whether that
// is news.
func (g *gate) shut(reason Reason, detail any, now time.Time) bool {
	g.detail = detail
	if g.reason == reason {
		return false
	}
	if !g.isShut() {
		g.step, g.probeAt = firstProbe, now.Add(jitter(firstProbe))
	}
	g.reason, g.since = reason, now
	return true
}

func (g *gate) open(now time.Time) { *g = gate{opened: now} }

// launch notes that a probe goes out. If it hangs, another one follows.
func (g *gate) launch(now time.Time) { g.sent, g.probeAt = now, now.Add(lastProbe) }

// failed plans the probe after one that failed.
func (g *gate) failed(now time.Time) {
	g.step = min(2*g.step, lastProbe)
	g.probeAt = later(now, g.sent.Add(jitter(g.step)))
}

// jitter keeps replicas from probing in step.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// health is how the calls of late went.
type health struct {
	failing, slow float64 // shares, the latest calls weighing most
	row           int     // failures since the last success
	arrival       time.Time
	several       bool // those are of several messages
	at            time.Time
}

const (
	weight      = 1.0 / 64 // of one call
	tripFailing = 0.5
	tripSlow    = 0.8
	tripRow     = 10
	memory      = 30 * time.Second // of what was before a quiet time
)

// note takes a call into account. A message is known by its arrival.
func (h *health) note(now, arrival time.Time, failed, slow bool) {
	if now.Sub(h.at) > memory {
		*h = health{}
	}
	h.at = now
	h.failing += weight * (one(failed) - h.failing)
	h.slow += weight * (one(slow) - h.slow)
	if !failed {
		h.row, h.several = 0, false
		return
	}
	h.several = h.several || h.row > 0 && !arrival.Equal(h.arrival)
	h.row, h.arrival = h.row+1, arrival
}

// sick tells whether calls must stop. One message that fails again and again is
// its own trouble, and is given up by its own limits.
func (h *health) sick() bool {
	return h.several && (h.row >= tripRow || h.failing >= tripFailing) || h.slow >= tripSlow
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
