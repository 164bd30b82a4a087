package bench

import (
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"smscancel/worker"
	"smscancel/worker/api"
)

// backoff is the worker's own: full jitter, from half a second, doubling.
const backoff = 500 * time.Millisecond

// limit is as many calls at once as the worker makes, of requests that are there
// from the start or come at a rate. What must be tried again waits without a slot,
// as in the worker.
func (s *Spec) limit(ctx context.Context, progress io.Writer) (Report, error) {
	call, err := s.caller()
	if err != nil {
		return Report{}, err
	}
	l := limit{
		spec: s, call: call, progress: progress,
		queue: make(chan attempt, s.Count), latencies: make([]time.Duration, s.Count),
	}
	watch, err := start()
	if err != nil {
		return Report{}, err
	}
	var running sync.WaitGroup
	for range s.Concurrency {
		running.Go(func() { l.work(ctx) })
	}
	l.feed()
	running.Wait()
	return watch.stop(Report{Done: int(l.done.Load()), Latency: LatencyOf(l.latencies), Retries: int(l.retries.Load())})
}

type limit struct {
	spec      *Spec
	call      func(context.Context, worker.Target) (retry bool)
	progress  io.Writer
	queue     chan attempt
	latencies []time.Duration
	done      atomic.Int64
	retries   atomic.Int64
}

// attempt is one call of the n-th request.
type attempt struct {
	n      int
	due    time.Time
	failed int // attempts before
}

// feed puts every request into the queue when it is due.
func (l *limit) feed() {
	begin := time.Now()
	for n := range l.spec.Count {
		due := begin
		if rate := l.spec.Rate; rate > 0 {
			due = begin.Add(time.Duration(n) * time.Second / time.Duration(rate))
			if wait := time.Until(due); wait > 0 {
				time.Sleep(wait)
			}
		}
		l.queue <- attempt{n: n, due: due}
	}
}

func (l *limit) work(ctx context.Context) {
	for a := range l.queue {
		if l.call(ctx, Target(a.n, l.spec.SubAccounts)) {
			l.retries.Add(1)
			a.failed++
			delay := rand.N(backoff << min(a.failed-1, 6))
			time.AfterFunc(delay, func() { l.queue <- a }) // has room: its place is free
			continue
		}
		l.latencies[a.n] = time.Since(a.due)
		done := l.done.Add(1)
		if done%Step == 0 {
			l.progress.Write([]byte{0}) //nolint:errcheck // whoever listened is gone
		}
		if done == int64(l.spec.Count) {
			close(l.queue)
		}
	}
}

// caller makes one call with the worker's client.
func (s *Spec) caller() (func(context.Context, worker.Target) bool, error) {
	key, err := api.LiteralKey(s.Key)
	if err != nil {
		return nil, err
	}
	client, err := api.New(api.Config{BaseURL: s.API, Keys: key, CAFile: s.CAFile, Concurrency: s.Concurrency})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, t worker.Target) bool {
		return client.Cancel(ctx, worker.Call{Target: t}).Retry
	}, nil
}
