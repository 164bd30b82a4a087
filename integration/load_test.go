package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// load publishes requests at a steady pace, whatever happens to the brokers,
// until it is ended. It writes every request exactly once.
type load struct {
	w      *world
	client *kgo.Client
	next   func(i int) *kgo.Record
	stop   context.CancelFunc
	done   sync.WaitGroup
	more   atomic.Int64 // to be published besides
	acked  atomic.Int64
}

// loadPulse is how often a load publishes.
const loadPulse = 50 * time.Millisecond

// load begins to publish so many requests a second, every tenth of which is
// about an earlier message.
func (w *world) load(perSecond int) *load {
	w.t.Helper()
	return w.loadOf(perSecond, w.request)
}

// loadOf begins to publish so many requests a second, the i-th of which is made
// when it is due.
func (w *world) loadOf(perSecond int, request func(i int) *kgo.Record) *load {
	w.t.Helper()
	l := &load{w: w, client: w.client(), next: request}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	w.t.Cleanup(stop)
	l.done.Go(func() { l.run(ctx, perSecond*int(loadPulse/time.Millisecond)/1000) })
	return l
}

// add publishes so many requests more, at once.
func (l *load) add(n int) { l.more.Add(int64(n)) }

func (l *load) run(ctx context.Context, each int) {
	pulse := time.NewTicker(loadPulse)
	defer pulse.Stop()
	for i, until := 0, each; ; until += each + int(l.more.Swap(0)) {
		for ; i < until; i++ {
			l.client.Produce(context.Background(), l.next(i), func(_ *kgo.Record, err error) {
				if err != nil && !errors.Is(err, kgo.ErrClientClosed) { // a test that failed is over
					l.w.t.Errorf("publish: %v", err)
				}
				l.acked.Add(1)
			})
		}
		select {
		case <-pulse.C:
		case <-ctx.Done():
			return
		}
	}
}

// request is the i-th request of a load.
func (w *world) request(i int) *kgo.Record {
	id := umid(i)
	if i%10 == 9 {
		id = umid(i - i%200/2)
	}
	r := w.requestsFor(id)[0]
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: "traceparent", Value: traceParent()})
	return r
}

// traceParent is one that no other record has: calls are attributed by it.
func traceParent() []byte {
	return fmt.Appendf(nil, "00-%016x%016x-%016x-01", rand.Uint64()|1, rand.Uint64(), rand.Uint64()|1)
}

// end ends the load, waits until everything is written, and tells how much it was.
func (l *load) end() int {
	l.w.t.Helper()
	l.stop()
	l.done.Wait()
	if err := l.client.Flush(within(l.w.t)); err != nil {
		l.w.t.Fatalf("publish: %v", err)
	}
	return int(l.acked.Load())
}
