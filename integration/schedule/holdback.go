package schedule

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"smscancel/cmd/smscancel/process"
	"smscancel/integration/checker"
	"smscancel/worker/policy"
)

// operatorsFile is the configuration file that all replicas share.
type operatorsFile struct {
	mu      sync.Mutex
	version int
	history []checker.Held
}

// hold writes into the file what an event holds back, and takes it out later.
func (w *world) hold(e *Event) {
	f := &w.file
	f.mu.Lock()
	n := len(f.history)
	f.history = append(f.history, e.Held)
	f.history[n].From = time.Now()
	f.version++
	f.mu.Unlock()
	w.after(e.For, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.history[n].Until = time.Now()
		f.version++
	})
}

// rules are what the file says now.
func (f *operatorsFile) rules() (policy.Rules, int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var r policy.Rules
	for _, h := range f.history {
		switch {
		case !h.Until.IsZero():
		case h.Withdrawn:
			r.Withdrawn = append(r.Withdrawn, h.Campaign)
		case h.Campaign != "":
			r.Campaigns = append(r.Campaigns, h.Campaign)
		case h.SubAccount != "":
			r.SubAccounts = append(r.SubAccounts, h.SubAccount)
		default:
			r.PauseAll = true
		}
	}
	return r, f.version
}

func (f *operatorsFile) evidence() []checker.Held {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.history)
}

// configure gives a process what the file says at its start, and a look at it
// from then on: a change is believed at the second look, as in `smscancel worker`.
func (f *operatorsFile) configure(c *process.Config) {
	rules, judged := f.rules()
	c.Held = rules
	last, live := judged, c.Live
	c.Reload = func() (process.Live, bool, error) {
		rules, version := f.rules()
		if version != last || version == judged {
			last = version
			return live, false, nil
		}
		judged, live.Held = version, rules
		return live, true, nil
	}
}

// holds draws what an operator holds back, in one schedule of four. They are drawn
// apart, so that the rest of the schedule is what its seed made it before.
func holds(p *Plan) []Event {
	d := &draw{Rand: rand.New(rand.NewPCG(p.Seed, 0x40))}
	if !d.chance(.25) {
		return nil
	}
	var all []Event
	for range 1 + d.IntN(3) {
		e := Event{At: d.when(p), Kind: Hold, For: one(d, d.between(0, 2*time.Second), d.between(0, time.Minute))}
		e.Held = one(d, checker.Held{}, checker.Held{Campaign: campaign}, checker.Held{Campaign: campaign, Withdrawn: true},
			checker.Held{Campaign: campaign, Withdrawn: true}, checker.Held{SubAccount: one(d, subAccounts...)})
		all = append(all, e)
	}
	return all
}
