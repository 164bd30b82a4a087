package api

import (
	"context"
	"errors"
	"sync/atomic"

	"smscancel/worker"
)

// errCalledOff is why an attempt ended of which nothing was sent: it was not to
// go out any more when its connection stood.
var errCalledOff = errors.New("called off before it was sent")

// permission is whether an attempt may still go out while it waits for its
// connection. Once it is on the wire nobody can take it back.
type permission struct {
	ctx    context.Context // of the attempt
	call   worker.Call
	cancel context.CancelCauseFunc
	state  atomic.Int32
}

const (
	waiting int32 = iota // for a connection
	started              // what happens now happens on the wire
	calledOff
)

// watch calls the attempt off when nobody wants it any more, until stop.
func (p *permission) watch() (stop func() bool) {
	if p.call.Wanted == nil {
		return func() bool { return true }
	}
	return context.AfterFunc(p.call.Wanted, p.callOff)
}

// callOff ends the attempt if no connection stands.
func (p *permission) callOff() {
	if p.state.CompareAndSwap(waiting, calledOff) {
		p.cancel(errCalledOff)
	}
}

// waitAgain is for the attempt that found its connection dead and gets another.
func (p *permission) waitAgain() {
	p.state.CompareAndSwap(started, waiting)
	if p.call.Wanted != nil && p.call.Wanted.Err() != nil {
		p.callOff()
	}
}

// granted takes the last look, on a connection that stands.
func (p *permission) granted() bool {
	if p.call.Confirm != nil && !p.call.Confirm(p.ctx) {
		p.callOff()
	}
	return p.state.CompareAndSwap(waiting, started)
}
