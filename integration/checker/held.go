package checker

import (
	"time"

	"smscancel/worker"
)

// Held is what an operator held back for a while by the workers' configuration
// file. A run has 64 at most.
type Held struct {
	SubAccount string // empty = any
	Campaign   string // empty = any
	Withdrawn  bool   // instead of paused
	From       time.Time
	Until      time.Time // zero = to the end of the run
}

// heldAfter is how long the promise lets calls go on.
const heldAfter = 2 * time.Second

// heldBy are the entries of Setup.Held that are about a request, a bit each.
func (b *book) heldBy(req *worker.Request) (set uint64) {
	for i, h := range b.run.Setup.Held {
		if (h.SubAccount == "" || h.SubAccount == req.SubAccountID) && (h.Campaign == "" || h.Campaign == req.CampaignID) {
			set |= 1 << i
		}
	}
	return set
}

// checkHeld: no call starts for a request that is held back, and nothing is
// called withdrawn that was not.
func (c *check) checkHeld() {
	for i := range c.attempts {
		if a := &c.attempts[i]; a.request != none {
			c.checkHeldCall(a.request, a.started)
		}
	}
	for i := range c.calls {
		// When its process did not live to log it, all that is known is when it arrived.
		if k := &c.calls[i]; k.request != none && k.attempt == none && !c.run.Setup.CallsLost {
			c.checkHeldCall(k.request, c.started(k))
		}
	}
	for i := range c.outcomes {
		if o := &c.outcomes[i]; o.withdrawn && o.request != none && !c.wasWithdrawn(o) {
			c.violated(WrongWithdrawal, o.request, "its outcome of %s says that its campaign was withdrawn", clockOf(o.completed))
		}
	}
}

func (c *check) checkHeldCall(request int32, started int64) {
	if c.parts[c.requests[request].part].logs > 1 {
		return // it may be for the record of another log
	}
	for i, h := range c.run.Setup.Held {
		late := started > h.From.Add(heldAfter).UnixMilli() && (h.Until.IsZero() || started < h.Until.UnixMilli())
		if late && c.requests[request].held&(1<<i) != 0 && !c.run.Setup.ClocksDiffer {
			c.violated(HeldCall, request, "it was called at %s, and it is held back since %s: %+v", clockOf(started), clock(h.From), h)
			return
		}
	}
}

func (c *check) wasWithdrawn(o *outcome) bool {
	for i, h := range c.run.Setup.Held {
		during := o.completed >= h.From.UnixMilli()-tolerance && (h.Until.IsZero() || o.completed <= h.Until.Add(heldAfter).UnixMilli()+tolerance)
		if h.Withdrawn && c.requests[o.request].held&(1<<i) != 0 && (during || c.run.Setup.ClocksDiffer) {
			return true
		}
	}
	return false
}
