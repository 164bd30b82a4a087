package schedule

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"smscancel/integration/simulator"
)

// happen makes an event happen.
func (w *world) happen(e *Event) {
	if e.Kind != Ambush {
		w.tale.count(e.name())
		w.tale.tell("%s", e)
	}
	switch e.Kind {
	case Start:
		w.start(e.Replica)
	case Kill:
		w.each(e.Replica, func(r *replica) { w.crash(r.link) })
	case Stop:
		w.each(e.Replica, (*replica).stop)
	case Stall, Lose, Refuse, Break:
		w.each(e.Replica, func(r *replica) { w.trouble(e, r.link) })
	case Misbehave:
		w.misbehave(e)
	case Ambush:
		w.lie(e)
	case MoveLeaders:
		w.cluster.ShufflePartitionLeaders()
	case MoveGroups:
		w.cluster.RehashCoordinators()
	case LoseBroker:
		w.loseBroker(e)
	case Retention:
		w.retain(e)
	case Recreate:
		w.recreate(e)
	case SetOffset:
		w.reset(e)
	case Rival:
		w.startRival(e)
	case Hold:
		w.hold(e)
	}
}

// each does something to the replica of a slot, or to all that live.
func (w *world) each(slot int, do func(*replica)) {
	w.mu.Lock()
	var meant []*replica
	for s := range maxSlots + 1 {
		if r := w.slots[s]; r != nil && (slot == s || slot < 0 && s != rivalSlot) && r.lives() {
			meant = append(meant, r)
		}
	}
	w.mu.Unlock()
	for _, r := range meant {
		do(r)
	}
}

// trouble is what happens to the network of one replica.
func (w *world) trouble(e *Event, l *link) {
	switch e.Kind {
	case Stall:
		l.change(&l.stalls, e.Side, e.Way, +1)
		w.after(e.For, func() { l.change(&l.stalls, e.Side, e.Way, -1) })
	case Lose:
		l.change(&l.lossy, e.Side, e.Way, +1)
		w.after(e.For, func() {
			l.change(&l.lossy, e.Side, e.Way, -1)
			l.cut(e.Side, 0) // what was lost within a stream cannot be made good
		})
	case Refuse:
		l.refusing(e.Side, +1)
		l.cut(e.Side, 0)
		w.after(e.For, func() { l.refusing(e.Side, -1) })
	case Break:
		l.cut(e.Side, 0)
	}
}

func (w *world) misbehave(e *Event) {
	w.setFaults(e.API)
	w.after(e.For, func() { w.setFaults(w.plan.Setting.API) })
}

func (w *world) setFaults(f simulator.Faults) {
	if err := w.sim.SetFaults(f); err != nil {
		panic(err)
	}
}

// lie sets up an ambush.
func (w *world) lie(e *Event) {
	a := &ambush{Event: e}
	if e.For > 0 && e.Act != Late && e.Act != Slow {
		a.until = time.Now().Add(e.For)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ambushes = append(w.ambushes, a)
}

// loseBroker takes a broker away and brings it back. Its connections break.
func (w *world) loseBroker(e *Event) {
	port := brokerPort + int(e.Broker)
	if w.cluster.RemoveNode(e.Broker) != nil {
		return // it is away already
	}
	// kfake goes on serving its connections, and forever as no leader of anything.
	links := []*link{w.own}
	for _, r := range w.everyReplica() {
		links = append(links, r.link)
	}
	for _, l := range links {
		l.cut(Kafka, port)
	}
	w.after(e.For, func() {
		if _, _, err := w.cluster.AddNode(e.Broker, port); err != nil {
			panic(err)
		}
	})
}

// name is what an event counts as.
func (e *Event) name() string {
	switch e.Kind {
	case Ambush:
		return string(e.Act) + " " + e.manner()
	case Stall, Lose, Refuse, Break:
		if e.For > time.Hour {
			return "sleep of all machines"
		}
		return fmt.Sprintf("%s: %s", e.Kind, e.Side)
	case Hold:
		return string(e.Kind) + " " + e.heldBack()
	case Retention, SetOffset:
		if e.N < 0 {
			return string(e.Kind) + " (back)"
		}
		if e.N > 0 {
			return string(e.Kind) + " (unsettled ones)"
		}
	}
	return string(e.Kind)
}

func (e *Event) manner() string {
	point := string(e.Point)
	if e.Stopping {
		point += " of a stop"
	}
	switch {
	case e.Act == Crash:
		return [...]string{"before ", "with the answer unread of ", "right after "}[e.When] + point
	case e.Act == Answer:
		return fmt.Sprintf("%d %s to %s%s", e.Code, errorName(e.Code), point, [...]string{"", ", which took effect", ""}[e.When])
	case e.Act == Late || e.Act == Slow:
		return point
	}
	return [...]string{"the request: ", "the answer: ", ""}[e.When] + point
}

// heldBack is what is held back.
func (e *Event) heldBack() string {
	switch h := &e.Held; {
	case h.Withdrawn:
		return "a campaign for good"
	case h.Campaign != "":
		return "a campaign"
	case h.SubAccount != "":
		return "a sub-account"
	}
	return "everything"
}

func errorName(code int16) string {
	if err := kerr.TypedErrorForCode(code); err != nil {
		return err.Message
	}
	return "NONE"
}

// String tells an event.
func (e *Event) String() string {
	text := string(e.Kind)
	switch e.Kind {
	case Ambush:
		text = e.name()
		if e.Skip > 0 {
			text += fmt.Sprintf(", after %d", e.Skip)
		}
		if e.Least > 0 {
			text += fmt.Sprintf(" of %d outcomes or more", e.Least)
		}
		if e.Times > 1 {
			text += fmt.Sprintf(", %d times", e.Times)
		}
	case Stall, Lose:
		text += fmt.Sprintf(" %s %s", e.Side, e.Way)
	case Refuse, Break:
		text += fmt.Sprintf(" to %s", e.Side)
	case Misbehave:
		text += fmt.Sprintf(": %v, latency %v", e.API.Rates, e.API.Latency)
	case LoseBroker:
		text += fmt.Sprintf(" (%d)", e.Broker)
	case SetOffset:
		if e.Partition == everyPartition {
			return text + fmt.Sprintf(" of every partition by %d, %q", e.N, e.Text)
		}
		return text + fmt.Sprintf(" of %s/%d by %d, %q", requestTopics[e.Topic], e.Partition, e.N, e.Text)
	case Hold:
		return fmt.Sprintf("%s, for %s", e.name(), e.For)
	case Retention:
		return text + fmt.Sprintf(" of %s/%d and %d more", requestTopics[e.Topic], e.Partition, e.N)
	case Recreate:
		text += " (" + requestTopics[e.Topic] + ")"
	case MoveLeaders, MoveGroups:
		return text
	}
	switch {
	case e.Kind == Misbehave || e.Kind == LoseBroker || e.Kind == Recreate || e.Kind == Rival:
	case e.Replica < 0:
		text += ", any replica"
	default:
		text += fmt.Sprintf(", replica %d", e.Replica)
	}
	if e.For > 0 {
		text += fmt.Sprintf(", for %s", e.For)
	}
	return text
}

// losesCalls tells whether calls may be lost before the API has them.
func (e *Event) losesCalls() bool {
	switch e.Kind {
	case Stall, Lose, Refuse, Break:
		return e.Side != Kafka
	case Ambush:
		return e.Point == Call && e.Act != Slow
	}
	return false
}
