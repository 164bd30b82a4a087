package simulator

import (
	"fmt"
	"sync"
	"time"
)

// Limits are calls per second, measured over every window of one second. What
// goes beyond is answered 429 with Retry-After: 1 and does not count.
type Limits struct {
	PerSubAccount int // 0 = no limit
	Total         int // 0 = no limit

	// Slack is the share beyond a limit that is let through: 0.1 allows 110 %.
	// A client that paces itself exactly at a limit needs a little, because
	// calls that left evenly do not arrive evenly.
	Slack float64
}

// PublishedLimits are those of https://developer.8x8.com/connect/docs/api-rate-limiting:
// 1,800/s for a sub-account and 3,000/s for a client's address.
func PublishedLimits() Limits { return Limits{PerSubAccount: 1800, Total: 3000} }

func (l Limits) validate() error {
	if l.PerSubAccount < 0 || l.Total < 0 || l.Slack < 0 {
		return fmt.Errorf("limits %d, %d and slack %g must not be negative", l.PerSubAccount, l.Total, l.Slack)
	}
	return nil
}

// window lets at most limit calls through in any second. A nil window lets
// everything through.
type window struct {
	limit int

	mu     sync.Mutex
	passed []time.Time // when the calls of the last second passed, oldest first
}

func newWindow(limit int, slack float64) *window {
	if limit == 0 {
		return nil
	}
	return &window{limit: int(float64(limit) * (1 + slack))}
}

func (w *window) allow(now time.Time) bool {
	if w == nil {
		return true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	old := 0
	for old < len(w.passed) && now.Sub(w.passed[old]) >= time.Second {
		old++
	}
	// append moves to a new array when the room behind the slice is used up, so
	// what was cut off in front is freed in time.
	w.passed = w.passed[old:]
	if len(w.passed) >= w.limit {
		return false
	}
	w.passed = append(w.passed, now)
	return true
}
