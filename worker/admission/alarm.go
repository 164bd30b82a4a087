package admission

import "time"

// alarm is one timer, set to the next moment at which somebody may go.
type alarm struct {
	ring  func()
	timer *time.Timer
	at    time.Time // zero when it is not set
}

// set leaves a timer that rings early enough as it is: to ring in vain is
// cheaper than to set it with every admission.
func (t *alarm) set(now, at time.Time) {
	switch {
	case at.IsZero():
		t.stop()
	case !t.at.IsZero() && !at.Before(t.at):
	case t.timer == nil:
		t.at, t.timer = at, time.AfterFunc(at.Sub(now), t.ring)
	default:
		t.at = at
		t.timer.Reset(at.Sub(now))
	}
}

func (t *alarm) stop() {
	if !t.at.IsZero() {
		t.timer.Stop()
		t.at = time.Time{}
	}
}
