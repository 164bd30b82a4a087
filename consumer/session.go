package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"

	"smscancel/consumer/records"
	"smscancel/worker"
	"smscancel/worker/dedupe"
)

const (
	maxFetch     = 1 << 20 // bytes of one fetch
	fetchWait    = 500 * time.Millisecond
	stallLimit   = time.Second // no call starts while an append has waited longer
	permitPoll   = 10 * time.Millisecond
	proveTimeout = 10 * time.Second
)

// session is one partition's life in this process, from a completed takeover
// until it is fenced, handed over or stopped. It does not end with a
// generation of the group: what this member keeps, it keeps running.
type session struct {
	c    *Consumer
	tp   topicPartition
	log  zerolog.Logger
	read committed // the commit that the takeover started from

	ledger  Ledger
	part    *worker.Partition
	tracker *tracker
	lease   *lease
	share   *share
	settled map[worker.RecordID]int64 // records at or beyond the watermark that have an outcome, and where
	start   int64                     // first offset to fetch

	admit       context.Context // ends when no new call may start
	stopAdmit   context.CancelFunc
	work        context.Context // ends when calls in hand are to be dropped
	stopWork    context.CancelCauseFunc
	jobs        sync.WaitGroup
	committedAt atomic.Int64 // when the last acknowledged commit was sent, ns since birth; 0 = none
	birth       time.Time
	proving     atomic.Bool
	blocked     atomic.Int64 // calls that wait for the ledger, not for a lease
	end         atomic.Int64 // end of the request partition as last seen
	drained     atomic.Bool  // no job is left, and none will come

	mu      sync.Mutex
	sent    commitment    // last acknowledged
	changed chan struct{} // closed when a call may have become possible
}

// open completes s once everything that a takeover finds out is set.
func (s *session) open() {
	s.birth = time.Now()
	s.changed = make(chan struct{})
	s.share = s.c.window.join()
	s.work, s.stopWork = context.WithCancelCause(context.Background())
	s.admit, s.stopAdmit = context.WithCancel(s.work)
	s.part.Permit = s
	s.part.Open()
}

// run fetches and handles records until the session fails or is told to drain,
// and returns why it failed.
func (s *session) run() error {
	go s.watchLedger()
	go s.watchPermit()
	go s.sweepIndex()
	s.fetch()
	<-s.admit.Done()
	return context.Cause(s.work) // nil when draining
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
}

var (
	errClosed       = errors.New("session closed")
	errDrainTimeout = errors.New("drain timeout")
	errOtherLog     = errors.New("the request partition is another log than before")
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

// fetch reads records and takes them in hand until admission ends.
func (s *session) fetch() {
	at, trouble := s.start, error(nil)
	for s.admit.Err() == nil {
		next, err := s.fetchOnce(at)
		if s.admit.Err() != nil {
			return
		}
		if gone := errors.Is(trouble, kafka.UnknownTopicOrPartition); gone && err == nil {
			s.fail(fmt.Errorf("%w: topic %s was gone for a while", errOtherLog, s.tp.topic)) // the takeover will compare
			return
		}
		at = next
		switch {
		case err != nil && trouble == nil:
			s.log.Warn().Err(err).Int64("offset", at).Msg("fetch failed, trying again")
		case err == nil && trouble != nil:
			s.log.Info().Int64("offset", at).Msg("fetch works again")
		}
		if trouble = err; err != nil {
			sleep(s.admit, 100*time.Millisecond)
		}
	}
}

// fetchOnce makes one fetch, takes its records in hand, and returns the offset
// to go on at.
func (s *session) fetchOnce(at int64) (int64, error) {
	page, err := s.c.Records.Fetch(s.admit, records.FetchRequest{
		Topic: s.tp.topic, Partition: s.tp.partition, Offset: at,
		MaxBytes: min(maxFetch, s.share.maxBytes()), MinBytes: 1, MaxWait: fetchWait, ReadCommitted: true,
	})
	if page != nil {
		s.end.Store(page.HighWatermark)
	}
	switch {
	case errors.Is(err, kafka.OffsetOutOfRange):
		return s.outOfRange(at)
	case err != nil:
		return at, err
	}
	return s.takeAll(page, at)
}

// outOfRange moves on when retention has overtaken the reader. An offset past
// the end means that the topic was created again.
func (s *session) outOfRange(at int64) (int64, error) {
	first, err := s.c.Records.Earliest(s.admit, s.tp.topic, s.tp.partition)
	if err != nil {
		return at, err
	}
	if at >= first {
		s.fail(fmt.Errorf("%w: offset %d is past its end", errOtherLog, at))
		return at, nil
	}
	s.c.lostToRetention(s.log, at, first)
	s.tracker.advance(first)
	return first, nil
}

// takeAll takes the records of a page in hand and returns where to go on.
func (s *session) takeAll(page *records.Page, at int64) (int64, error) {
	for rec, err := range page.Records() {
		if err != nil {
			return at, err
		}
		if err := s.take(s.decode(rec)); err != nil {
			return at, nil // draining
		}
		at = rec.Offset + 1
	}
	at = max(at, page.NextOffset)
	s.tracker.advance(at)
	return at, nil
}

// take hands one record to the worker, when there is room for it.
func (s *session) take(rec *worker.Record) error {
	id := rec.ID()
	if ledger, ok := s.settled[id]; ok {
		s.skip(id, ledger)
		return nil
	}
	size := len(rec.Value)
	if err := s.share.acquire(s.admit, size); err != nil {
		return err
	}
	it := s.tracker.take(id)
	job := s.part.Begin(rec)
	s.checkKey(rec, job)
	if s.lease.want(id.Offset) {
		s.c.requestCommit()
	}
	s.jobs.Add(1)
	go s.handle(job, it, size)
	return nil
}

func (s *session) skip(id worker.RecordID, ledger int64) {
	delete(s.settled, id)
	s.tracker.skip(id, ledger)
	s.c.Handler.Metrics.Skipped.WithLabelValues(s.tp.topic).Inc()
}

func (s *session) handle(job *worker.Job, it *item, size int) {
	defer s.jobs.Done()
	defer s.share.release(size)
	_, err := job.Run(s.admit, s.work)
	switch {
	case err == nil:
		s.tracker.finish(it)
	case job.MayHaveCalled():
		s.lease.called(it.id.Offset)
		fallthrough
	default:
		if s.admit.Err() == nil { // neither draining nor failed: this record would be lost from sight
			s.fail(fmt.Errorf("record at offset %d: %w", it.id.Offset, err))
		}
	}
}

// Wait blocks until a call for the record at offset may start: its lease is
// durable, no append is overdue, and the hold on the ledger was confirmed
// within the session timeout. It implements worker.Permit.
func (s *session) Wait(ctx context.Context, offset int64) error {
	for {
		changed := s.change()
		if s.Holds(offset) {
			return nil
		}
		leased := s.lease.covers(offset)
		if leased {
			s.blocked.Add(1) // by the ledger: watchPermit looks after it
		} else if s.lease.want(offset) {
			s.c.requestCommit()
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
		if leased {
			s.blocked.Add(-1)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// watchPermit wakes those who wait for the ledger when it is in reach and ours
// again, and has the hold confirmed if nothing else has done so lately.
func (s *session) watchPermit() {
	t := time.NewTicker(permitPoll)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-s.work.Done():
			return
		}
		switch {
		case s.blocked.Load() == 0:
		case s.stale():
			s.prove()
		case s.ledger.Stalled() <= stallLimit:
			s.signal()
		}
	}
}

// Holds is the same question at the moment of sending. It implements worker.Permit.
func (s *session) Holds(offset int64) bool {
	return s.admit.Err() == nil && s.lease.covers(offset) && s.ledger.Stalled() <= stallLimit && !s.stale()
}

// stale tells whether nothing has confirmed this session within the session timeout.
func (s *session) stale() bool {
	if s.ledger.Proven() < s.c.SessionTimeout {
		return false
	}
	at := s.committedAt.Load()
	return at == 0 || time.Since(s.birth)-time.Duration(at) >= s.c.SessionTimeout
}

// prove asks the broker in the background whether the ledger is still ours.
func (s *session) prove() {
	if !s.proving.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer s.proving.Store(false)
		ctx, cancel := context.WithTimeout(s.work, proveTimeout)
		defer cancel()
		if err := s.ledger.Prove(ctx); err != nil && s.work.Err() == nil {
			s.log.Warn().Err(err).Msg("cannot confirm the hold on the ledger; no call starts")
		}
	}()
}

func (s *session) change() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *session) signal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// commitment is what one commit says about a partition.
type commitment struct {
	offset int64
	lease  int64
	ledger int64
	text   string
}

// commitment is what to commit now, and whether that is news.
func (s *session) commitment() (commitment, bool, error) {
	p := s.tracker.progress()
	pid, epoch := s.ledger.Identity()
	m := metadata{
		ClusterID: s.c.ClusterID, Outcomes: s.c.OutcomeTopic, N: s.c.N,
		Offset: p.watermark, PID: pid, Epoch: epoch, Ledger: p.ledger, Lease: s.lease.renewal(),
	}
	if s.drained.Load() {
		m.Lease = s.lease.trimmed()
	}
	if p.known {
		m.Last = fingerprint(p.last)
	}
	text, err := m.encode()
	s.mu.Lock()
	defer s.mu.Unlock()
	news := s.sent.text == "" || p.watermark != s.sent.offset || m.Lease != s.sent.lease
	return commitment{offset: p.watermark, lease: m.Lease, ledger: m.Ledger, text: text}, news, err
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
	s.committedAt.Store(int64(sent.Sub(s.birth)) + 1)
	s.lease.durable(c.lease)
	s.signal()
}

// established tells whether a commit of this session was acknowledged.
func (s *session) established() bool { return s.committedAt.Load() != 0 }

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

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
