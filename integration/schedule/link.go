package schedule

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
)

// Side is where a connection of a replica leads.
type Side int

const (
	Kafka Side = iota
	API
	Both
)

func (s Side) String() string { return [...]string{"Kafka", "the API", "Kafka and the API"}[s] }

func (s Side) covers(one Side) bool { return s == Both || s == one }

// Way is a direction, as the replica sees it.
type Way int

const (
	Out Way = iota
	In
	BothWays
)

func (w Way) String() string { return [...]string{"from it", "to it", "either way"}[w] }

func (w Way) covers(one Way) bool { return w == BothWays || w == one }

// link is everything between one replica and the outside world. Cutting it is
// what a crash looks like from outside.
type link struct {
	world *world
	slot  int
	name  string // instance

	mu      sync.Mutex
	dead    bool
	gone    chan struct{} // closed when dead
	stalls  [2][2]int     // by side and way: how many stalls are in force
	moved   chan struct{} // closed when one of these changes
	lossy   [2][2]int
	refuse  [2]int
	wires   map[*wire]struct{}
	dialled uint64
	view    *view // of what it says to Kafka
}

func newLink(w *world, slot int, name string) *link {
	return &link{world: w, slot: slot, name: name, gone: make(chan struct{}), moved: make(chan struct{}), wires: map[*wire]struct{}{},
		view: newView()}
}

var (
	errRefused = errors.New("connection refused")
	errDead    = errors.New("the process is gone")
)

// dial connects the replica. It hangs while the way there is stalled.
func (l *link) dial(ctx context.Context, side Side, address string) (net.Conn, error) {
	for _, way := range []Way{Out, In} {
		if err := l.pass(ctx, side, way); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	refused := l.refuse[side] > 0
	l.mu.Unlock()
	if refused {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errRefused}
	}
	server, err := l.world.network.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
	return l.connect(side, address, server)
}

// dialKafka connects to a broker.
func (l *link) dialKafka(ctx context.Context, _, address string) (net.Conn, error) {
	return l.dial(ctx, Kafka, address)
}

// dialAPI connects to the API.
func (l *link) dialAPI(ctx context.Context, _, address string) (net.Conn, error) {
	return l.dial(ctx, API, address)
}

func (l *link) connect(side Side, address string, server net.Conn) (net.Conn, error) {
	inner, outer := net.Pipe()
	w := newWire(l, side, address, outer, server)
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		w.close()
		return nil, errDead
	}
	l.dialled++
	w.number = l.dialled
	l.wires[w] = struct{}{}
	l.mu.Unlock()
	w.start()
	return endpoint{inner, w}, nil
}

// pass waits while a way is stalled. It fails when the process dies, or ctx ends.
func (l *link) pass(ctx context.Context, side Side, way Way) error {
	for {
		l.mu.Lock()
		dead, stalled, moved := l.dead, l.stalls[side][way] > 0, l.moved
		l.mu.Unlock()
		if dead {
			return errDead
		}
		if !stalled {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// loses tells whether what goes a way now is lost.
func (l *link) loses(side Side, way Way) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lossy[side][way] > 0
}

// troubled tells whether anything stands in a way now.
func (l *link) troubled(side Side, way Way) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead || l.stalls[side][way] > 0 || l.lossy[side][way] > 0
}

// change adds to the counters of a kind of trouble, or takes away.
func (l *link) change(counters *[2][2]int, side Side, way Way, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range counters {
		for w := range counters[s] {
			if side.covers(Side(s)) && way.covers(Way(w)) {
				counters[s][w] += by
			}
		}
	}
	close(l.moved)
	l.moved = make(chan struct{})
}

func (l *link) refusing(side Side, by int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.refuse {
		if side.covers(Side(s)) {
			l.refuse[s] += by
		}
	}
}

// cut breaks every connection of a side; a port narrows it to one broker.
func (l *link) cut(side Side, port int) {
	for _, w := range l.all() {
		if side.covers(w.side) && (port == 0 || strings.HasSuffix(w.address, fmt.Sprint(":", port))) {
			w.close()
		}
	}
}

// kill ends all contact with the outside world at this instant.
func (l *link) kill() bool {
	l.mu.Lock()
	if l.dead {
		l.mu.Unlock()
		return false
	}
	l.dead = true
	close(l.gone)
	close(l.moved)
	l.moved = make(chan struct{})
	l.mu.Unlock()
	for _, w := range l.all() {
		w.client.Close()
		w.hangUp()
	}
	return true
}

func (l *link) all() []*wire {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*wire, 0, len(l.wires))
	for w := range l.wires {
		all = append(all, w)
	}
	return all
}

func (l *link) forget(w *wire) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.wires, w)
}
