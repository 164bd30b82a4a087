package schedule

import (
	"math/rand/v2"
	"time"

	"smscancel/integration/simulator"
)

// tourStop is the time that a tour spends on each ambush: long enough that what a
// fault left behind is over, and that the next requests find idle partitions.
const tourStop = 12 * time.Second

// Tour makes a plan that walks into the given ambushes one after another, each
// with the occasion that it needs: a takeover, a stop, or just requests. After
// them it lets the API misbehave in every way there is.
func Tour(seed uint64, ambushes []Event) *Plan {
	d := &draw{Rand: rand.New(rand.NewPCG(seed, 0x70c4))}
	p := &Plan{Seed: seed, Setting: d.setting()}
	s := &p.Setting
	s.Topics, s.Partitions, s.N, s.Replicas = 1, 3, 2, 2
	s.SessionTimeout, s.AttemptTimeout, s.DrainTimeout, s.DedupeWindow = 3*time.Second, 2*time.Second, 8*time.Second, 24*time.Hour
	s.Window, s.Concurrency, s.RateLimit = 300, 64, 0
	s.RetryMaxInterval, s.RetryMaxElapsed, s.RetryMaxAttempts, s.RetryAfterMax, s.AuthHold = 2*time.Second, time.Minute, 0, 2*time.Second, 10*time.Second
	s.API.Latency = simulator.Latency{Min: 100 * time.Millisecond, Max: 400 * time.Millisecond}
	w := &workload{draw: d, plan: p, messages: map[string]simulator.MessageRule{}}
	at := time.Duration(0)
	for i := range ambushes {
		p.Events = append(p.Events, d.visit(at, ambushes[i])...)
		for range 12 {
			w.add(at + 3*time.Second)
		}
		at += tourStop
	}
	for _, name := range apiFaultNames {
		f := simulator.Faults{Rates: map[string]float64{name: .7}, Latency: s.API.Latency, Seed: d.Uint64(), RetryAfter: "1"}
		p.Events = append(p.Events, Event{At: at, Kind: Start, Replica: 0}, Event{At: at, Kind: Misbehave, API: f, For: tourStop/2 - time.Second})
		for range 12 {
			w.add(at + 2*time.Second)
		}
		at += tourStop / 2
	}
	p.Length = at
	s.Messages = w.messages
	p.Requests = sortedByTime(w.all)
	return p
}

// visit is one stop of a tour: two replicas run, the ambush lies, and what walks
// into it happens.
func (d *draw) visit(at time.Duration, e Event) []Event {
	e.At, e.Replica, e.Times, e.Skip = at+time.Second, -1, 1, 0
	one, other := d.IntN(2), 0
	if one == 0 {
		other = 1
	}
	events := []Event{{At: at, Kind: Start, Replica: one}, {At: at, Kind: Start, Replica: other}, e}
	switch {
	case e.Stopping && e.Point != LastCommit: // while calls are in hand
		events = append(events, Event{At: at + 3*time.Second + 50*time.Millisecond, Kind: Stop, Replica: -1})
	case e.Stopping || e.Point == LastCommit || e.Point == Leave:
		events = append(events, Event{At: at + 4*time.Second, Kind: Stop, Replica: one})
	case takeoverOnly[e.Point]: // by the one that is left, or by a third
		events = append(events, Event{At: at + 1500*time.Millisecond, Kind: Stop, Replica: one}, Event{At: at + 1600*time.Millisecond, Kind: Start, Replica: 2},
			Event{At: at + 6*time.Second, Kind: Stop, Replica: 2})
	}
	return events
}
