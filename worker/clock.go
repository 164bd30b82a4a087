package worker

import (
	"context"
	"time"
)

// Age is how long ago t was by the clock that says longer: the monotonic one
// stands still while a machine is suspended, and the wall clock can be set back.
func Age(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// Sleep waits for d, or until ctx ends; then its error is that of ctx.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
