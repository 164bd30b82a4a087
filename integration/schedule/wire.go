package schedule

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// wire is one connection of a replica. Like a network it takes what it is given
// and delivers it later, or not at all.
type wire struct {
	link    *link
	side    Side
	address string
	client  net.Conn // the end towards the replica
	server  net.Conn // the end towards the broker or the API
	number  uint64   // of its link, in the order of dialling
	gone    chan struct{}

	mu      sync.Mutex
	pending []*exchange // sent and not answered yet
	left    bool        // the replica has hung up
	beats   bool        // the group's connection, in a generation
}

// exchange is one request and its answer.
type exchange struct {
	link    *link
	point   Point
	data    []byte
	request *kafkaRequest // nil for a call to the API
	strike  *strike       // what goes wrong with it; nil = nothing
	over    chan struct{} // closed when it is answered, as far as the replica can tell
}

// endpoint is the replica's end of a wire.
type endpoint struct {
	net.Conn
	wire *wire
}

// Close implements net.Conn.
func (e endpoint) Close() error {
	err := e.Conn.Close()
	e.wire.hangUp()
	return err
}

// refusalTime is how long a refusal takes: who tries again at once must not
// stop the clock.
const refusalTime = 2 * time.Millisecond

func newWire(l *link, side Side, address string, client, server net.Conn) *wire {
	return &wire{link: l, side: side, address: address, client: client, server: server, gone: make(chan struct{})}
}

func (w *wire) start() {
	go w.up()
	go w.down()
}

// up carries requests. It takes the next one to Kafka only after an answer:
// kafka-go's group makes a second request on its connection while the first is
// under way, and waits for its answer on a mutex, which stops virtual time.
func (w *wire) up() {
	defer w.hangUp()
	lag := w.lag(Out)
	for {
		data, err := w.receive(w.client)
		if err != nil {
			return
		}
		x := w.link.world.begin(w.link, w.side, data)
		w.note(x)
		if !w.send(x, lag) {
			return
		}
		if w.side == Kafka {
			select {
			case <-x.over:
			case <-w.gone:
				return
			}
		}
	}
}

// note recognises the group's connection by its heartbeats.
func (w *wire) note(x *exchange) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch x.point {
	case Sync:
		w.beats = true
	case Join, Find:
		w.beats = false
	}
}

// fragile tells of the one kind of connection that nothing may stand still on:
// with two topics to watch, kafka-go makes three requests at once on it, and
// the third would wait on a mutex for the second. Such a connection breaks
// where others would stall.
func (w *wire) fragile() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.beats && w.link.world.plan.Setting.Topics > 1
}

// send delivers a request, or does to it what its strike says. It returns false
// when the connection is over.
func (w *wire) send(x *exchange, lag func()) bool {
	fragile := w.fragile()
	if s := x.strike; s.at(Before) {
		switch {
		case s.Act == Crash:
			w.link.world.crash(w.link)
			return false
		case s.Act == Cut || s.Act == Hang && fragile:
			w.close()
			return false
		case s.Act == Hang:
			return true
		case s.Act == Answer:
			if !fragile {
				time.Sleep(refusalTime)
			}
			w.client.Write(x.refusal(s.Code)) //nolint:errcheck // the replica may have hung up
			close(x.over)
			return true
		case s.Act == Late:
			go w.link.world.deliverLate(w.link, w.address, x, s.For)
			w.close()
			return false
		case s.Act == Slow && !fragile:
			time.Sleep(s.For)
		}
	}
	if x.request != nil {
		if join, ok := x.request.Request.(*kmsg.JoinGroupRequest); ok {
			w.link.world.coordinator.admit(join, w.gone)
		}
	}
	if !w.travel(Out, fragile, lag) {
		return false
	}
	if w.link.loses(w.side, Out) {
		return true
	}
	w.mu.Lock()
	if w.left && w.side == API {
		w.mu.Unlock()
		return false // held up until nobody waited any more
	}
	w.pending = append(w.pending, x)
	w.mu.Unlock()
	_, err := w.server.Write(x.data)
	return err == nil
}

// travel takes its time. It returns false if the way ends.
func (w *wire) travel(way Way, fragile bool, lag func()) bool {
	if fragile {
		if w.link.troubled(w.side, way) {
			w.close()
			return false
		}
		return true
	}
	lag()
	return w.link.pass(context.Background(), w.side, way) == nil
}

// down carries answers. It reads on when nobody listens any more, to learn what
// the broker did.
func (w *wire) down() {
	defer w.close()
	lag := w.lag(In)
	for {
		data, err := w.receive(w.server)
		if err != nil {
			return
		}
		x := w.answered()
		if x != nil {
			w.link.world.answered(x, data)
		}
		w.deliver(x, data, lag)
		if w.done() {
			return
		}
	}
}

// deliver hands an answer to the replica, or does to it what its strike says.
func (w *wire) deliver(x *exchange, data []byte, lag func()) {
	fragile := w.fragile()
	var s *strike
	if x != nil {
		s = x.strike
	}
	if s.at(Sent) {
		switch {
		case s.Act == Crash:
			w.link.world.crash(w.link)
			return
		case s.Act == Cut || s.Act == Hang && fragile:
			w.client.Close()
			w.hangUp()
			return
		case s.Act == Hang:
			return
		case s.Act == Answer:
			data = x.refusal(s.Code)
		case s.Act == Slow && !fragile:
			time.Sleep(s.For)
		}
	}
	if !w.travel(In, fragile, lag) || w.link.loses(w.side, In) {
		return
	}
	w.client.Write(data) //nolint:errcheck // the replica may have hung up
	if x == nil {
		return
	}
	close(x.over)
	if s.at(After) && s.Act == Crash {
		w.link.world.crash(w.link)
	}
}

// answered takes the exchange that an answer belongs to: Kafka answers in
// order. Of an API's answer in parts it is the first part that counts.
func (w *wire) answered() *exchange {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.pending) == 0 {
		return nil
	}
	x := w.pending[0]
	w.pending = w.pending[1:]
	return x
}

// hangUp tells the other side that the replica is gone. A broker finishes what
// it has in hand all the same, and we want to know how.
func (w *wire) hangUp() {
	w.mu.Lock()
	if !w.left {
		w.left = true
		close(w.gone)
	}
	over := w.side == API || len(w.pending) == 0
	w.mu.Unlock()
	if over {
		w.close()
	}
}

// done tells whether nobody waits for anything any more.
func (w *wire) done() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left && len(w.pending) == 0
}

func (w *wire) close() {
	w.client.Close()
	w.server.Close()
	w.link.forget(w)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.left {
		w.left = true
		close(w.gone)
	}
}

// lag returns the delays of one direction, which differ from message to message
// and are the same for a seed.
func (w *wire) lag(way Way) func() {
	longest := w.link.world.plan.Setting.Lag
	if longest == 0 || w.link == w.link.world.own {
		return func() {}
	}
	dice := rand.New(rand.NewPCG(w.link.world.plan.Seed, uint64(w.link.slot)<<40|w.number<<2|uint64(way)))
	return func() {
		if dice.IntN(2) == 0 {
			time.Sleep(time.Duration(dice.Int64N(int64(longest))))
		}
	}
}

// receive reads one message: a frame of Kafka's protocol, or what the HTTP side
// has written at once.
func (w *wire) receive(from net.Conn) ([]byte, error) {
	if w.side == API {
		buf := make([]byte, 16<<10)
		n, err := from.Read(buf)
		return buf[:n], err
	}
	return readFrame(from)
}

func readFrame(from io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(from, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
	copy(frame, size[:])
	_, err := io.ReadFull(from, frame[4:])
	return frame, err
}
