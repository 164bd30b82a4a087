package records

import (
	"context"
	"fmt"
	"time"
)

// errSilent ends an exchange that has not moved on for too long.
var errSilent = fmt.Errorf("the broker does not answer: %w", context.DeadlineExceeded)

// watch sees to it that an exchange moves on. One whose caller has set a deadline
// is not watched: patience is zero.
type watch struct {
	ctx      context.Context
	cancel   context.CancelCauseFunc
	patience time.Duration
	timer    *time.Timer
}

// watched returns a context that ends when the exchange does not move on.
func watched(ctx context.Context, patience time.Duration) (context.Context, *watch) {
	w := &watch{patience: max(patience, exchangeSlack)} // the sum of two may overflow
	if _, ok := ctx.Deadline(); ok {
		w.patience = 0
	}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	if w.patience > 0 {
		w.timer = time.AfterFunc(w.patience, func() { w.cancel(errSilent) })
	}
	return w.ctx, w
}

// step tells that a step begins, on a connection: that is closed with the wait
// for it. It is an error if nobody waits for the exchange any more.
func (w *watch) step(conn any) error {
	if w == nil {
		return nil
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.patience > 0 {
		w.timer.Reset(w.patience)
		limit(conn, time.Now().Add(w.patience))
	}
	return nil
}

// done tells that the exchange has ended on a connection, which others will use.
func (w *watch) done(conn any) {
	if w != nil && w.patience > 0 {
		limit(conn, time.Time{})
	}
}

// limit sets the deadline of a connection that can have one.
func limit(conn any, until time.Time) {
	if c, ok := conn.(interface{ SetDeadline(time.Time) error }); ok {
		c.SetDeadline(until) //nolint:errcheck // the exchange will tell
	}
}

// end ends the watch.
func (w *watch) end() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.cancel(nil)
}
