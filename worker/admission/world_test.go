package admission

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// world is an API and the messages that wait for it, in virtual time.
type world struct {
	t   *testing.T
	a   *Admission
	log callLog

	mu       sync.Mutex
	answer   func(sub string) (time.Duration, Result) // asked when a call is sent
	inFlight map[string]int
	messages int
}

func newWorld(t *testing.T, cfg Config) *world {
	return &world{t: t, a: New(cfg), log: callLog{times: map[string][]time.Time{}}, inFlight: map[string]int{}}
}

// set changes what the API does.
func (w *world) set(answer func(sub string) (time.Duration, Result)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = answer
}

// takes is an API that answers everything after a time.
func takes(d time.Duration) func(string) (time.Duration, Result) {
	return func(string) (time.Duration, Result) { return d, answered }
}

// fails is an API that fails after a time.
func fails(d time.Duration) func(string) (time.Duration, Result) {
	return func(string) (time.Duration, Result) { return d, Result{Kind: Failed} }
}

// backlog keeps n messages of a sub-account in hand until ctx ends: each is
// called until it is answered, as package worker does it, and then another follows.
func (w *world) backlog(ctx context.Context, wg *sync.WaitGroup, sub string, n int) {
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil {
				w.message(ctx, sub)
			}
		})
	}
}

// arrivals lets messages of a sub-account come for as long as ctx lasts, so many
// in a second, and returns how long each took, from its arrival to its answer.
func (w *world) arrivals(ctx context.Context, sub string, perSecond float64) []time.Duration {
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	rng := rand.New(rand.NewPCG(1, 1))
	for ctx.Err() == nil {
		<-time.After(time.Duration(rng.ExpFloat64() / perSecond * float64(time.Second)))
		all.Go(func() {
			start := time.Now()
			w.message(w.t.Context(), sub)
			mu.Lock()
			took = append(took, time.Since(start))
			mu.Unlock()
		})
	}
	all.Wait()
	return took
}

// message calls until it is answered.
func (w *world) message(ctx context.Context, sub string) {
	w.mu.Lock()
	w.messages++
	arrival := time.Time{}.Add(time.Duration(w.messages))
	w.mu.Unlock()
	due := time.Now().Add(10 * time.Minute)
	for try := 0; ; try++ {
		p, err := w.a.Wait(ctx, Ticket{SubAccountID: sub, Due: due, Arrival: arrival, Retry: try > 0, HoldFor: time.Hour})
		if err != nil {
			return
		}
		r := w.call(sub)
		if shut := p.Done(r); r.Kind == Answered || ctx.Err() != nil {
			return
		} else if !shut {
			<-time.After(rand.N(time.Second))
		}
	}
}

func (w *world) call(sub string) Result {
	w.log.add(sub)
	w.mu.Lock()
	d, r := w.answer(sub)
	w.inFlight[sub]++
	w.inFlight[""]++
	w.mu.Unlock()
	<-time.After(d)
	w.mu.Lock()
	w.inFlight[sub]--
	w.inFlight[""]--
	w.mu.Unlock()
	return r
}

// sent is when calls went out in a span of time.
func (w *world) sent(sub string, from, to time.Time) []time.Time {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	var found []time.Time
	for _, at := range w.log.times[sub] {
		if !at.Before(from) && at.Before(to) {
			found = append(found, at)
		}
	}
	return found
}

// underWay is how many calls are in flight.
func (w *world) underWay(sub string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inFlight[sub]
}

// rate is the calls per second in a span of time.
func (w *world) rate(sub string, from, to time.Time) float64 {
	return float64(len(w.sent(sub, from, to))) / to.Sub(from).Seconds()
}
