package admission

import (
	"math"
	"time"
)

// How many calls of a sub-account are in flight at once follows how long they
// take. While latency is what it is without a queue the limit grows; when it is
// half as much again the limit shrinks, for then calls may queue at the other end.
// If they do, to have fewer of them in flight makes them faster. If it does not, the API
// has become slower by itself, and its latency is the new measure.
const (
	firstLimit   = 256 // before anything is known
	againLimit   = 16  // after the API was not well
	leastLimit   = 8
	tolerance    = 1.5
	windowLength = 100 * time.Millisecond // or one latency, if that is more
	windowCalls  = 50
	leastLatency = 1e-6 // seconds
	calmWindows  = 3    // after a shrink, until the limit grows by a half again and not by its root
)

// limiter is the limit of one sub-account, which the scheduler keeps to.
type limiter struct {
	limit float64
	usual float64 // latency without a queue, in seconds
	calm  int     // windows since the last shrink
	shrunk
	window
}

// shrunk is the last shrink, while it is not known yet whether it helped.
type shrunk struct {
	by      float64 // 0 = known
	latency float64
}

// window is a time of measuring.
type window struct {
	began time.Time
	calls int
	sum   time.Duration
	least time.Duration
	most  int // in flight
}

func newLimiter(limit float64) limiter { return limiter{limit: limit, calm: calmWindows} }

// allows tells whether one call more may be in flight.
func (l *limiter) allows(inFlight int) bool { return inFlight < int(l.limit) }

// sample notes a call that was answered, and how many were in flight then. What
// was sent under the limit before says nothing about this one.
func (l *limiter) sample(now, sent time.Time, inFlight, ceiling int) {
	if sent.Before(l.began) {
		return
	}
	if l.began.IsZero() {
		l.began = sent
	}
	latency := now.Sub(sent)
	if l.calls == 0 || latency < l.least {
		l.least = latency
	}
	l.calls++
	l.sum += latency
	l.most = max(l.most, inFlight)
	mean := l.sum / time.Duration(l.calls)
	if float64(l.calls) < min(windowCalls, l.limit) || now.Sub(l.began) < max(windowLength, mean) {
		return
	}
	if l.usual == 0 {
		l.usual = max(l.least.Seconds(), leastLatency) // the others may have waited for each other already
	} else {
		l.adapt(max(mean.Seconds(), leastLatency), float64(ceiling))
	}
	l.window = window{began: now}
}

// adapt ends a window with its mean latency.
func (l *limiter) adapt(latency, ceiling float64) {
	helped := latency < l.latency*(1+l.by)/2
	if l.by > 0 && !helped {
		l.usual, l.calm = latency, calmWindows
	}
	if latency < l.usual {
		l.usual += (latency - l.usual) / 2
	}
	l.shrunk = shrunk{}
	switch {
	case float64(l.most) < l.limit/2: // it is not what holds calls back
	case latency > tolerance*l.usual:
		l.shrunk = shrunk{by: min(max(tolerance*l.usual/latency, 0.5), 0.75), latency: latency}
		l.limit, l.calm = l.limit*l.by, 0
	case l.calm < calmWindows:
		l.limit, l.calm = l.limit+math.Sqrt(l.limit), l.calm+1
	default:
		l.limit *= 1.5
	}
	l.limit = min(max(l.limit, leastLimit), max(ceiling, 1))
}
