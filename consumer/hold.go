package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/rs/zerolog"

	"smscancel/worker"
	"smscancel/worker/status"
)

// State is where a partition of this member stands.
type State string

const (
	StateTakeover State = "takeover" // fencing and replaying
	StateRunning  State = "running"
	StateDraining State = "draining" // about to be handed over, or stopping
	StateWaiting  State = "waiting"  // could not be taken over, or was fenced; see the reason
)

// hold is this member's claim on one partition: it takes it over, runs its
// session, and takes it over again when the session fails, until released.
type hold struct {
	c   *Consumer
	tp  topicPartition
	log zerolog.Logger

	idle   map[fence]bool  // fences of this hold under which no call was started
	ctx    context.Context // ends when the hold is released
	cancel context.CancelFunc

	mu         sync.Mutex
	state      State
	reason     string
	since      time.Time
	session    *session    // nil while there is none
	claimed    *commitment // of a takeover in progress, to be committed; nil = none
	seen       *committed  // what a generation that began during a takeover found
	replayAt   int64
	replayTo   int64
	final      chan struct{} // closed when the final commit was acknowledged
	finished   bool
	generation int32         // of its last assignment; guarded by Consumer.mu
	leaving    bool          // release has begun; guarded by Consumer.mu
	lapsed     bool          // it may be somebody else's by now; guarded by Consumer.mu
	ran        chan struct{} // closed when run has returned
	released   chan struct{} // closed when the hold is gone
}

// newHold is a hold that run starts; c.mu is held.
func (c *Consumer) newHold(tp topicPartition) *hold {
	if c.idle[tp] == nil {
		c.idle[tp] = map[fence]bool{}
	}
	h := &hold{
		c: c, tp: tp, state: StateTakeover, since: time.Now(), idle: c.idle[tp], final: make(chan struct{}),
		ran: make(chan struct{}), released: make(chan struct{}),
		log: c.Log.With().Str("topic", tp.topic).Int("partition", tp.partition).Logger(),
	}
	h.ctx, h.cancel = context.WithCancel(c.ctx)
	return h
}

// run holds the partition until it is released.
func (h *hold) run() {
	defer close(h.ran)
	pause := backoff.NewExponentialBackOff(backoff.WithInitialInterval(200*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(0))
	fenced := backoff.NewExponentialBackOff(backoff.WithInitialInterval(10*time.Second), backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0), backoff.WithMaxInterval(5*time.Minute), backoff.WithMaxElapsedTime(0))
	said := ""
	for h.ctx.Err() == nil {
		started := time.Now()
		err := h.once()
		if err == nil || h.ctx.Err() != nil {
			return
		}
		if time.Since(started) > time.Minute { // it ran for a while: this trouble is a new one
			pause.Reset()
			said = ""
		}
		if time.Since(started) > 10*time.Minute {
			fenced.Reset()
		}
		delay := pause.NextBackOff()
		if errors.Is(err, worker.ErrFenced) {
			h.c.Handler.Metrics.Fenced.Inc()
			delay = fenced.NextBackOff()
		}
		reason := status.Reason(err)
		h.set(StateWaiting, reason)
		if said != reason { // once, not at every try; the status has it too
			said = reason
			h.log.Error().Err(err).Stringer("again", delay.Round(time.Millisecond)).Msg("partition stopped; its requests wait")
		}
		worker.Sleep(h.ctx, delay)
	}
}

// once takes the partition over and runs its session. It returns nil when the
// session drained.
func (h *hold) once() error {
	h.begin()
	t := &takeover{c: h.c, tp: h.tp, log: h.log, position: h.replayed, claim: h.claim, idle: h.idle}
	s, err := t.run(h.ctx)
	if err != nil {
		h.claim(nil)
		return err
	}
	h.attach(s)
	h.c.requestCommit()
	err = s.run()
	if err == nil {
		return nil // drained by release, which needs the session for the final commit
	}
	h.attach(nil)
	h.end(s)
	return err
}

// end closes a session, and notes if it called nothing: no lease of it stood.
func (h *hold) end(s *session) {
	s.close()
	if !s.established() {
		h.idle[fenceOf(s.ledger)] = true
	}
}

// begin is the beginning of a takeover. Why the one before it failed stays the
// reason as long as this one lasts: it may fail in the same way.
func (h *hold) begin() {
	h.mu.Lock()
	reason := h.reason
	h.seen, h.claimed = nil, nil
	h.mu.Unlock()
	h.set(StateTakeover, reason)
}

// claim asks for a commit in the name of a takeover that is not complete yet;
// nil takes it back.
func (h *hold) claim(what *commitment) {
	h.mu.Lock()
	h.claimed = what
	h.mu.Unlock()
	h.c.requestCommit()
}

func (h *hold) claims() *commitment {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.claimed
}

// attach makes s the hold's session. A hold that is being released drains it at
// once; a partition that somebody else has owned meanwhile is taken over again.
func (h *hold) attach(s *session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.session, h.claimed = s, nil
	if s != nil && h.state != StateDraining {
		h.state, h.reason, h.since = StateRunning, "", time.Now()
	}
	if s != nil && h.seen != nil && !s.stillOurs(*h.seen) {
		s.fail(errLostCommit)
	}
	if s != nil && h.ctx.Err() != nil {
		s.stopAdmit()
	}
}

func (h *hold) set(state State, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.state != StateDraining {
		h.state, h.reason, h.since = state, reason, time.Now()
	}
}

func (h *hold) replayed(at, end int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.replayAt, h.replayTo = at, end
}

func (h *hold) current() (*session, State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.session, h.state
}

// check ends the session if a new generation's view of the commit shows that
// somebody else has owned the partition meanwhile.
func (h *hold) check(now committed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen = &now
	if h.claimed != nil && h.claimed.over != now.raw {
		h.claimed = nil // it would undo a lease that the takeover has not read
	}
	if h.session != nil && !h.session.stillOurs(now) {
		h.session.fail(errLostCommit)
	}
}

// release gives the partition up: no new call, calls in hand finish within the
// timeout, their outcomes are appended, the watermark is committed. It blocks
// until all that is over, then calls gone.
func (h *hold) release(timeout time.Duration, gone func()) {
	defer close(h.released)
	defer gone()
	h.set(StateDraining, "")
	h.cancel()
	if s, _ := h.current(); s != nil {
		s.stopAdmit()
	}
	<-h.ran // no takeover or session loop is at work any more
	s, _ := h.current()
	if s == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s.drain(ctx)
	if s.mayCommit() && !h.hasLapsed() {
		h.awaitFinalCommit()
	}
	h.attach(nil)
	h.end(s)
}

func (h *hold) hasLapsed() bool {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	return h.lapsed
}

func (h *hold) awaitFinalCommit() {
	h.c.requestCommit()
	timeout := time.NewTimer(finalCommitTimeout)
	defer timeout.Stop()
	select {
	case <-h.final:
	case <-timeout.C:
		h.log.Warn().Msg("the last commit was not acknowledged; the next owner replays a little more")
	}
}

// finalCommitTimeout bounds the wait for the commit of a drained session; the
// next owner can do without it.
const finalCommitTimeout = 2 * time.Second

// acknowledge notes a commit of the hold's session, or of its takeover.
func (h *hold) acknowledge(s *session, c commitment, final bool, sent time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s == nil {
		if h.claimed != nil && h.claimed.text == c.text {
			h.claimed = nil
		}
		return
	}
	s.acknowledge(c, sent)
	if final && !h.finished {
		h.finished = true
		close(h.final)
	}
}
