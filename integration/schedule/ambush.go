package schedule

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/integration/checker"
)

// ambush waits for a point. It is guarded by world.mu.
type ambush struct {
	*Event
	until   time.Time // zero = until it has struck
	passed  int
	strikes int
}

// strike is what an ambush does to one exchange. The nil strike does nothing.
type strike struct{ *Event }

func (s *strike) at(p Phase) bool { return s != nil && s.When == p }

// begin looks at a request on its way out, and decides what becomes of it.
func (w *world) begin(l *link, side Side, data []byte) *exchange {
	x := &exchange{link: l, data: data, point: Call, over: make(chan struct{})}
	if l == w.own {
		return x // meets no faults
	}
	if side == Kafka {
		request, err := parseRequest(data)
		if err != nil {
			panic(fmt.Sprintf("%s sends what is no request: %v", l.name, err))
		}
		x.request, x.point = request, l.view.point(outcomeTopic, request.Request)
	}
	w.walk(x, func(a *ambush) bool { return a.When == Before || !a.Stopping })
	return x
}

// walk lets an exchange walk into the ambushes of a kind.
func (w *world) walk(x *exchange, kind func(*ambush) bool) {
	if e := w.trap(x, kind); e != nil {
		x.strike = &strike{e}
		w.tale.count(e.name())
		w.tale.tell("%s: %s", x.link.name, e.name())
	}
}

// trap finds the ambush that an exchange falls into.
func (w *world) trap(x *exchange, kind func(*ambush) bool) *Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mended {
		return nil
	}
	for _, a := range w.ambushes {
		if kind(a) && a.waitsFor(x) {
			a.passed++
			if a.passed > a.Skip {
				a.strikes++
				return a.Event
			}
		}
	}
	return nil
}

func (a *ambush) waitsFor(x *exchange) bool {
	return a.Point == x.point && (a.Replica < 0 || a.Replica == x.link.slot) && a.strikes < a.Times &&
		(a.until.IsZero() || time.Now().Before(a.until)) && (!a.Stopping || x.link.view.isStopping()) &&
		(a.Least == 0 || a.Least <= outcomesIn(x))
}

// outcomesIn is how many outcomes an append is to write.
func outcomesIn(x *exchange) int {
	r, ok := x.request.Request.(*kmsg.ProduceRequest)
	if !ok || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		return 0
	}
	const count = 57 // where a batch keeps the number of its records
	batch := r.Topics[0].Partitions[0].Records
	if len(batch) < count+4 {
		return 0
	}
	return int(binary.BigEndian.Uint32(batch[count:]))
}

// answered looks at an answer on its way back, and learns from it what the
// broker did.
func (w *world) answered(x *exchange, data []byte) {
	if x.strike == nil && x.link != w.own { // the stop may have come while it was in hand
		w.walk(x, func(a *ambush) bool { return a.When != Before && a.Stopping })
	}
	if x.request == nil {
		return
	}
	if req, ok := x.request.Request.(*kmsg.OffsetCommitRequest); ok {
		res, err := x.request.parseResponse(data)
		if err != nil {
			panic(fmt.Sprintf("the broker's answer: %v", err))
		}
		w.committed(req, res.(*kmsg.OffsetCommitResponse))
	}
}

// committed takes note of the commits that the coordinator applied.
func (w *world) committed(req *kmsg.OffsetCommitRequest, res *kmsg.OffsetCommitResponse) {
	applied := map[partition]bool{}
	for _, t := range res.Topics {
		for _, p := range t.Partitions {
			applied[partition{t.Topic, p.Partition}] = p.ErrorCode == 0
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if !applied[partition{t.Topic, p.Partition}] {
				continue
			}
			c := checker.Commit{Group: req.Group, Topic: t.Topic, Partition: int(p.Partition), Offset: p.Offset, At: time.Now()}
			if p.Metadata != nil {
				c.Metadata = *p.Metadata
			}
			w.commits = append(w.commits, c)
		}
	}
}

// deliverLate sends a request after its sender has given up on it.
func (w *world) deliverLate(l *link, address string, x *exchange, after time.Duration) {
	time.Sleep(after)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := w.network.DialContext(ctx, "tcp", address)
	if err != nil {
		return // the broker is gone
	}
	defer conn.Close()
	w.tale.tell("%s of %s arrives late", x.point, l.name)
	if _, err := conn.Write(x.data); err != nil {
		return
	}
	if data, err := readFrame(conn); err == nil {
		w.answered(x, data)
	}
}
