package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"smscancel/worker"
	"smscancel/worker/dedupe"
)

// session is one partition's life in this process, from a completed takeover
// until it is fenced, handed over or stopped. It does not end with a
// generation of the group: what this member keeps, it keeps running.
type session struct {
	c    *Consumer
	tp   topicPartition
	log  zerolog.Logger
	read committed // the commit that the takeover started from

	ledger   Ledger
	part     *worker.Partition
	tracker  *tracker
	lease    *lease
	share    *share
	settled  map[worker.RecordID]int64 // records at or beyond the watermark that have an outcome, and where
	start    int64                     // first offset to fetch
	fenced   time.Time                 // when the fence stood
	known    *worker.RecordID          // the last record that was taken; nil while there is none
	doubtful bool                      // the log may be another one since known was last compared with it
	watched  time.Time                 // when the last fetch was answered
	capped   bool                      // the inherited lease is what is left of it

	aloneSince time.Time // when an end was seen first that no earlier owner can call beyond; zero = not yet
	highest    int64     // end seen since then
	shortSince time.Time // since when the log seems to end too early; zero = it does not

	admit       context.Context // ends when no new call may start
	stopAdmit   context.CancelFunc
	work        context.Context // ends when calls in hand are to be dropped
	stopWork    context.CancelCauseFunc
	jobs        sync.WaitGroup
	committedAt atomic.Pointer[time.Time] // when the last acknowledged commit was sent; nil = none
	proving     atomic.Bool
	unproven    atomic.Bool             // the last try has failed, and that was said
	blocked     atomic.Int64            // calls that wait for the ledger, not for a lease
	wakePermit  chan struct{}           // capacity 1: there is one now
	unread      atomic.Pointer[trouble] // fetching fails; nil = it works
	refused     atomic.Pointer[trouble] // commits are not acknowledged; nil = they are
	end         atomic.Int64            // end of the request partition as last seen
	stopped     atomic.Bool             // what is held up leaves no room to fetch more
	drained     atomic.Bool             // no job is left, and none will come

	mu      sync.Mutex
	sent    commitment    // last acknowledged
	changed chan struct{} // closed when a call may have become possible
}

// open completes s once everything that a takeover finds out is set.
func (s *session) open() {
	s.changed, s.wakePermit = make(chan struct{}), make(chan struct{}, 1)
	s.share = s.c.window.join(s.c.part(s.tp.topic))
	s.work, s.stopWork = context.WithCancelCause(context.Background())
	s.admit, s.stopAdmit = context.WithCancel(s.work)
	s.part.Permit = s
	s.part.Open()
	s.c.count(1)
}

// run fetches and handles records until the session fails or is told to drain,
// and returns why it failed.
func (s *session) run() error {
	go s.watchLedger()
	go s.watchPermit()
	go s.sweepIndex()
	go s.watchFetch()
	s.awaitCommit()
	if err := s.fetch(); err != nil {
		s.finish()
		if s.admit.Err() == nil {
			s.fail(err)
		}
	}
	<-s.admit.Done()
	return context.Cause(s.work) // nil when draining
}

// awaitCommit holds the first record back until a commit of this session stands.
// An earlier owner that is given the partition again before it has noticed the
// fence sees by the commit that it has lost it. Until then it may raise its lease
// and call what this session would take for never called.
func (s *session) awaitCommit() {
	for {
		changed := s.change()
		if s.established() {
			return
		}
		select {
		case <-changed:
		case <-s.admit.Done():
			return
		}
	}
}

// finish waits for the records in hand of a log that is gone: nobody will read
// them again. Those of the new log need not wait for long.
func (s *session) finish() {
	done := make(chan struct{})
	go func() { s.jobs.Wait(); close(done) }()
	timeout := time.NewTimer(s.c.AttemptTimeout + time.Second)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	case <-s.admit.Done(): // told to drain, which is as good, or failed
	}
}

// fail ends the session at once. What it has in hand is for the next takeover.
func (s *session) fail(err error) { s.stopWork(err) }

// drain starts no new call, waits for the calls in hand and their outcomes, and
// drops what is not done when ctx ends.
func (s *session) drain(ctx context.Context) {
	s.stopAdmit()
	done := make(chan struct{})
	go func() { s.jobs.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.log.Warn().Int("unfinished", s.tracker.inHand()).Msg("drain took too long, leaving calls in hand to the next owner")
		s.fail(errDrainTimeout)
		<-done
	}
	s.drained.Store(true)
}

// close releases everything. The session has drained or failed.
func (s *session) close() {
	s.fail(errClosed)
	s.jobs.Wait()
	s.ledger.Close()
	s.share.leave()
	s.c.count(-1)
}

var (
	errClosed       = errors.New("session closed")
	errDrainTimeout = errors.New("drain timeout")
	errOtherLog     = errors.New("the request partition is another log than before")
	errNoAnswer     = errors.New("no answer")
	errLostCommit   = errors.New("another member has committed for this partition")
)

func (s *session) watchLedger() {
	select {
	case <-s.ledger.Failed():
		s.fail(s.ledger.Err())
	case <-s.work.Done():
	}
}

func (s *session) sweepIndex() {
	t := time.NewTicker(max(s.c.DedupeWindow/1024, 100*time.Millisecond))
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			s.part.Index.Sweep(now)
		case <-s.work.Done():
			return
		}
	}
}

// commitment is what one commit says about a partition.
type commitment struct {
	offset int64
	lease  int64
	own    int64 // how far this session may call once it is acknowledged
	ledger int64
	text   string
	over   string // of a takeover: the commit that it found, and may replace
}

// commitment is what to commit now, and whether that is news.
func (s *session) commitment() (commitment, bool, error) {
	p := s.tracker.progress()
	pid, epoch := s.ledger.Identity()
	lease, own := s.lease.renewal()
	m := metadata{
		ClusterID: s.c.ClusterID, Outcomes: s.c.OutcomeTopic, N: s.c.N,
		Offset: p.watermark, PID: pid, Epoch: epoch, Ledger: p.ledger, Lease: lease,
	}
	if s.drained.Load() {
		m.Lease, m.Clean = s.lease.trimmed(), p.ahead == 0 && s.work.Err() == nil
	}
	if p.known {
		m.Last = fingerprint(p.last)
	}
	text, err := m.encode()
	s.mu.Lock()
	defer s.mu.Unlock()
	news := s.sent.text == "" || p.watermark != s.sent.offset || m.Lease != s.sent.lease || own != s.sent.own ||
		m.Ledger != s.sent.ledger && s.established() && worker.Age(*s.committedAt.Load()) > commitRefresh
	return commitment{offset: p.watermark, lease: m.Lease, own: own, ledger: m.Ledger, text: text}, news, err
}

// mayCommit tells whether the session still speaks for its partition: it has
// not failed, unless for want of time to drain.
func (s *session) mayCommit() bool {
	err := context.Cause(s.work)
	return err == nil || errors.Is(err, errDrainTimeout) && s.drained.Load()
}

// acknowledge notes a commit that the coordinator accepted.
func (s *session) acknowledge(c commitment, sent time.Time) {
	s.mu.Lock()
	s.sent = c
	s.mu.Unlock()
	s.committedAt.Store(&sent)
	s.refused.Store(nil)
	s.lease.durable(c.own)
	s.signal()
}

// established tells whether a commit of this session was acknowledged.
func (s *session) established() bool { return s.committedAt.Load() != nil }

// stillOurs tells whether a commit, as read in a new generation, shows that
// nobody else has owned the partition since this session took it over.
func (s *session) stillOurs(now committed) bool {
	if now.meta.writtenBy(s.ledger.Identity()) {
		return true
	}
	return !s.established() && now.raw == s.read.raw && now.offset == s.read.offset
}

// newIndex is the empty dedupe index of a session.
func (c *Consumer) newIndex() *dedupe.Index { return dedupe.NewIndex(c.DedupeWindow) }

// trouble is what goes wrong, and since when.
type trouble struct {
	since time.Time
	err   error
}

// unwell says why a running session makes no progress that it should; empty if
// it does, or has not failed to for long.
func (s *session) unwell() string {
	if err := s.ledger.Trouble(); errors.Is(err, worker.ErrNotPermitted) {
		return err.Error()
	}
	if d := s.ledger.Stalled(); d > unwellAfter {
		return fmt.Sprintf("outcomes are not acknowledged since %s: %v", d.Round(time.Second), cmp.Or(s.ledger.Trouble(), errNoAnswer))
	}
	if t := s.unread.Load(); t != nil && time.Since(t.since) > unwellAfter {
		return fmt.Sprintf("requests cannot be read since %s: %v", time.Since(t.since).Round(time.Second), t.err)
	}
	if t := s.refused.Load(); t != nil && time.Since(t.since) > unwellAfter {
		return fmt.Sprintf("commits are refused, or not answered, since %s: %v", time.Since(t.since).Round(time.Second), t.err)
	}
	if s.blocked.Load() > 0 && s.ledger.Proven() > s.c.SessionTimeout+unwellAfter {
		return "the hold on the ledger cannot be confirmed"
	}
	return ""
}

// commitRefresh is how old a commit of an idle partition gets before it says
// again where in the ledger a replay may start.
const commitRefresh = time.Hour

// unwellAfter is how long a broker may be slow before a replica calls itself unready.
const unwellAfter = 10 * time.Second
