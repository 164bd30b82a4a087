package worker

import "time"

// Age is how long ago t was by the clock that says longer: the monotonic one
// stands still while a machine is suspended, and the wall clock can be set back.
func Age(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}
