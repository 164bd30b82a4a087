package schedule

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"smscancel/integration/simulator"
)

// maxSlots is how many replicas live at once at most.
const maxSlots = 4

// Draw makes the plan of a seed.
//
// A generator of our own, not a library for property-based tests: those shrink
// by replaying their choices and give up on a failure that does not repeat
// exactly, and a run repeats its seed only as far as goroutines take turns in
// the same order.
func Draw(seed uint64) *Plan {
	d := &draw{Rand: rand.New(rand.NewPCG(seed, 0x5c4ed01e))}
	p := &Plan{Seed: seed, Setting: d.setting()}
	p.Length = d.between(20*time.Second, 90*time.Second)
	p.Requests = d.requests(p)
	p.Events = d.events(p)
	return p
}

type draw struct{ *rand.Rand }

func (d *draw) between(low, high time.Duration) time.Duration {
	return low + time.Duration(d.Int64N(int64(high-low)+1))
}

func (d *draw) chance(p float64) bool { return d.Float64() < p }

// one picks an element.
func one[T any](d *draw, of ...T) T { return of[d.IntN(len(of))] }

func (d *draw) setting() Setting {
	s := Setting{
		Topics: one(d, 1, 1, 2), Partitions: 1 + d.IntN(5), Replicas: 1 + d.IntN(3), AppendTime: d.chance(.7),
		Lag:            one(d, 0, time.Millisecond, 5*time.Millisecond, 30*time.Millisecond),
		SessionTimeout: one(d, 3*time.Second, 6*time.Second, 10*time.Second),
		AttemptTimeout: one(d, time.Second, 2*time.Second, 10*time.Second),
		DrainTimeout:   one(d, 8*time.Second, 25*time.Second),
		DedupeWindow:   one(d, 10*time.Second, time.Hour, 24*time.Hour, 24*time.Hour),
		Window:         one(d, 30, 300, 20000), Concurrency: one(d, 4, 64, 1024),
		RateLimit:        one(d, 0, 0, 50.),
		RetryInitial:     one(d, 50*time.Millisecond, 500*time.Millisecond),
		RetryMaxInterval: one(d, 2*time.Second, 30*time.Second),
		RetryMaxElapsed:  one(d, 5*time.Second, 15*time.Minute),
		RetryMaxAttempts: one(d, 0, 0, 0, 1, 3),
		RetryAfterMax:    one(d, 2*time.Second, 5*time.Minute),
		RepeatNotFound:   d.chance(.3),
	}
	s.N = 1 + d.IntN(s.Partitions+1)
	if d.chance(.5) {
		s.DefaultSubAccount = "default_shop"
	}
	s.API = simulator.Faults{Latency: d.latency(), Seed: d.Uint64()}
	s.AuthHold = one(d, 0, 10*time.Second, 5*time.Minute)
	return s
}

func (d *draw) latency() simulator.Latency {
	return one(d, simulator.Latency{}, simulator.Latency{Min: time.Millisecond, Max: 60 * time.Millisecond},
		simulator.Latency{Median: 100 * time.Millisecond, P99: time.Second})
}

// events draws what goes wrong: a few kinds of trouble a schedule, each more
// than once, so that troubles of one kind meet and those of all kinds meet in
// one schedule or another.
func (d *draw) events(p *Plan) []Event {
	var all []Event
	for slot := range p.Setting.Replicas {
		all = append(all, Event{Kind: Start, Replica: slot, At: time.Duration(slot) * d.between(0, 2*time.Second)})
	}
	for range 1 + d.IntN(4) {
		trouble := one(d, d.crashes, d.crashes, d.rebalances, d.evictions, d.appends, d.appends, d.coordination, d.reads, d.commits, d.membership,
			d.network, d.brokers, d.operator, d.apiFaults, d.apiFaults)
		for range 1 + d.IntN(4) {
			all = append(all, trouble(p)...)
		}
	}
	if d.chance(.02) { // the whole site, longer than a writer trusts the broker to remember it, or not
		all = append(all, Event{At: d.when(p), Kind: Stall, Replica: -1, Side: Both, Way: BothWays, For: one(d, 2*time.Hour, 13*time.Hour)})
	}
	all = append(all, holds(p)...)
	slices.SortStableFunc(all, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	return all
}

// when draws a time of the schedule.
func (d *draw) when(p *Plan) time.Duration { return d.between(0, p.Length-5*time.Second) }

func (d *draw) slot() int { return d.IntN(maxSlots) }

// someone is a replica of the start, or any.
func (d *draw) someone(p *Plan) int {
	if d.chance(.4) {
		return -1
	}
	return d.IntN(p.Setting.Replicas)
}

// crashes strike at a boundary, and sooner or later another process takes the
// place of the one that is gone.
func (d *draw) crashes(p *Plan) []Event {
	e := one(d, crashes()...)
	if d.chance(.3) { // the work itself more often than the way there
		e.Point, e.Stopping = one(d, Call, Append), false
	}
	e.At, e.Replica, e.Times, e.Skip = d.when(p), d.someone(p), 1, one(d, 0, 0, d.IntN(5), d.IntN(40))
	again := Event{At: e.At + d.between(0, 30*time.Second), Kind: Start, Replica: d.slot()}
	if e.Replica >= 0 {
		again.Replica = e.Replica
	}
	return append([]Event{e, again}, d.occasion(p, &e)...)
}

// occasion makes sure that an ambush is walked into.
func (d *draw) occasion(p *Plan, e *Event) []Event {
	switch {
	case e.Stopping || e.Point == LastCommit || e.Point == Leave:
		return []Event{{At: e.At + d.between(0, 5*time.Second), Kind: Stop, Replica: e.Replica}}
	case takeoverOnly[e.Point]:
		events := d.rebalances(p)
		shift := e.At + d.between(0, 3*time.Second) - events[0].At
		for i := range events {
			events[i].At += shift
		}
		return events
	}
	return nil
}

func (d *draw) rebalances(p *Plan) []Event {
	at := d.when(p)
	slot := d.slot()
	switch d.IntN(4) {
	case 0: // many in a row
		var events []Event
		for range 4 + d.IntN(8) {
			at += d.between(0, time.Second)
			events = append(events, Event{At: at, Kind: one(d, Start, Start, Stop, Kill), Replica: d.slot()})
		}
		return append(events, Event{At: at + time.Second, Kind: Start, Replica: 0})
	case 1:
		return []Event{{At: at, Kind: Stop, Replica: slot}, {At: at + d.between(0, 20*time.Second), Kind: Start, Replica: slot}}
	case 2:
		return []Event{{At: at, Kind: Kill, Replica: slot}, {At: at + d.between(0, 20*time.Second), Kind: Start, Replica: slot}}
	}
	return []Event{{At: at, Kind: Start, Replica: slot}}
}

// evictions: a replica is silent for so long that others take its partitions, and
// they are gone before it is back: it is given again what it believes to hold.
func (d *draw) evictions(p *Plan) []Event {
	session, silent := p.Setting.SessionTimeout, d.slot()
	e := Event{Kind: Stall, At: d.when(p), Replica: silent, Side: one(d, Kafka, Kafka, Both), Way: one(d, BothWays, Out), For: session + d.between(session/2, 2*session)}
	back := e.At + e.For
	heir := (silent + 1 + d.IntN(maxSlots-1)) % maxSlots
	events := []Event{{Kind: Start, At: max(0, e.At-time.Second), Replica: silent}, {Kind: Start, At: e.At, Replica: heir}, e}
	gone := back - d.between(0, 2*time.Second)
	for slot := range maxSlots {
		if slot != silent {
			events = append(events, Event{Kind: one(d, Stop, Stop, Kill), At: gone, Replica: slot})
		}
	}
	return append(events, Event{Kind: Start, At: back + d.between(0, 20*time.Second), Replica: heir})
}

func (d *draw) coordination(p *Plan) []Event { return d.ambush(p, coordinatorPoints) }
func (d *draw) reads(p *Plan) []Event        { return d.ambush(p, readPoints) }
func (d *draw) commits(p *Plan) []Event      { return d.ambush(p, commitPoints) }
func (d *draw) membership(p *Plan) []Event   { return d.ambush(p, memberPoints) }

// appends: while they are slow, nothing may be taken for written. A batch that is
// found too large is split, which is safe only if no earlier try of it may have
// been written.
func (d *draw) appends(p *Plan) []Event {
	if d.chance(.15) {
		return []Event{{Kind: Ambush, Act: Slow, Point: Append, At: d.when(p), Replica: d.someone(p), For: d.between(2*time.Second, 10*time.Second), Times: 1 + d.IntN(20)}}
	}
	if !d.chance(.2) {
		return d.ambush(p, appendPoints)
	}
	tooLarge := Event{Kind: Ambush, Act: Answer, Point: Append, Code: 10, At: d.when(p), Replica: d.someone(p), Times: one(d, 1, 3), Least: one(d, 0, 2, 2, 4)}
	if d.chance(.5) {
		return []Event{tooLarge}
	}
	lost := tooLarge
	lost.Act, lost.Code, lost.When, lost.Times = Cut, 0, Phase(d.IntN(2)), 1 // of as many outcomes: the same batch, as a rule
	return []Event{lost, tooLarge}
}

// ambush draws an error or a silence at one of some points, once or for a while.
func (d *draw) ambush(p *Plan, points []Point) []Event {
	choice := errorsAt(points...)
	if len(choice) == 0 || d.chance(.4) {
		choice = silences(points...)
	}
	e := one(d, choice...)
	e.At, e.Replica, e.Skip, e.Times = d.when(p), d.someone(p), one(d, 0, d.IntN(10)), one(d, 1, 1, 2, 6)
	switch {
	case e.Act == Late || e.Act == Slow:
		e.For = d.between(0, 20*time.Second)
	case d.chance(.2) && e.Code != 27: // after REBALANCE_IN_PROGRESS a member joins again without a pause
		e.Times, e.For = 1<<30, d.between(time.Second, 15*time.Second)
	}
	return append([]Event{e}, d.occasion(p, &e)...)
}

func (d *draw) network(p *Plan) []Event {
	if d.chance(.2) {
		return d.ambush(p, []Point{Metadata})
	}
	if d.chance(.3) {
		return d.ambush(p, []Point{Call})
	}
	e := Event{At: d.when(p), Kind: one(d, Stall, Stall, Lose, Refuse, Break), Replica: d.someone(p), Side: Side(d.IntN(3)), Way: Way(d.IntN(3))}
	e.For = one(d, d.between(0, 2*time.Second), d.between(0, 2*p.Setting.SessionTimeout), d.between(0, time.Minute))
	if e.Kind == Break {
		e.For = 0
	}
	return []Event{e}
}

func (d *draw) brokers(p *Plan) []Event {
	e := Event{At: d.when(p), Kind: one(d, MoveLeaders, MoveGroups, LoseBroker)}
	if e.Kind == LoseBroker {
		e.Broker, e.For = int32(d.IntN(3)), d.between(time.Second, 20*time.Second)
	}
	return []Event{e}
}

// operator draws what people do to a running system.
func (d *draw) operator(p *Plan) []Event {
	e := Event{At: d.when(p), Kind: one(d, Retention, Retention, SetOffset, SetOffset, Recreate, Rival),
		Topic: d.IntN(p.Setting.Topics), Partition: d.IntN(p.Setting.Partitions)}
	switch e.Kind {
	case Retention:
		e.N = one(d, 0, 0, int64(d.IntN(50)))
	case SetOffset:
		if d.chance(.5) {
			e.Partition = everyPartition
		}
		e.N, e.Crash = one(d, -int64(d.IntN(100)), -1<<40, int64(d.IntN(20)), 0), d.chance(.5)
		e.Text = one(d, NoText, ForeignText, OtherText, KeptText)
	case Recreate:
		e.For = d.between(0, 5*time.Second)
	case Rival:
		e.For = d.between(time.Second, 30*time.Second)
	}
	return []Event{e}
}

var apiFaultNames = []string{"300", "400", "401", "403", "404", "408", "425", "426", "429", "429", "500", "501", "502", "503", "503", "504", "hang-before", "hang-after",
	"reset-before", "reset-after", "truncated", "huge", "html", "empty", "redirect", "no-count",
	"500-after", "502-after", "504-after", "huge-after", "html-after", "empty-after", "no-count-after"}

func (d *draw) apiFaults(p *Plan) []Event {
	f := simulator.Faults{Rates: map[string]float64{}, Latency: d.latency(), Seed: d.Uint64()}
	n := 1 + d.IntN(6)
	for range n {
		f.Rates[one(d, apiFaultNames...)] = one(d, .05, .2, .9) / float64(n)
	}
	f.RetryAfter = one(d, "", "1", "3", "date+2s", "86400", "date+48h", "-1", "soon")
	return []Event{{At: d.when(p), Kind: Misbehave, API: f, For: d.between(2*time.Second, 30*time.Second)}}
}
