package admission

import "time"

// Pass is the permission for one call. Copies are the same permission; the
// zero value is none.
type Pass struct {
	// Paused is how long the wait stood behind a Retry-After pause. It is not
	// charged to the message's retry clock.
	Paused time.Duration

	grant *grant
}

// grant is the slot behind a pass.
type grant struct {
	admission *Admission
	sub       *subAccount
	done      bool
}

// Done gives the slot back. Only the first call counts.
func (p Pass) Done() {
	if p.grant == nil {
		return
	}
	a := p.grant.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	a.release(p.grant, time.Now())
}
