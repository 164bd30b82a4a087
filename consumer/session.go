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
	known   *worker.RecordID          // the last record that was taken; nil while there is none

	admit         context.Context // ends when no new call may start
	stopAdmit     context.CancelFunc
	work          context.Context // ends when calls in hand are to be dropped
	stopWork      context.CancelCauseFunc
	jobs          sync.WaitGroup
	committedAt   atomic.Pointer[time.Time] // when the last acknowledged commit was sent; nil = none
	proving       atomic.Bool
	blocked       atomic.Int64              // calls that wait for the ledger, not for a lease
	wakePermit    chan struct{}             // capacity 1: there is one now
	troubledSince atomic.Pointer[time.Time] // when fetching began to fail; nil = it works
	end           atomic.Int64              // end of the request partition as last seen
	drained       atomic.Bool               // no job is left, and none will come

	mu      sync.Mutex
	sent    commitment    // last acknowledged
	changed chan struct{} // closed when a call may have become possible
}

// open completes s once everything that a takeover finds out is set.
func (s *session) open() {
	s.changed, s.wakePermit = make(chan struct{}), make(chan struct{}, 1)
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
		next, err := s.fetchOnce(at, errors.Is(trouble, kafka.UnknownTopicOrPartition))
		if s.admit.Err() != nil {
			return
		}
		at = next
		switch {
		case err != nil && trouble == nil:
			s.log.Warn().Err(err).Int64("offset", at).Msg("fetch failed, trying again")
			s.troubledSince.Store(ptr(time.Now()))
		case err == nil && trouble != nil:
			s.log.Info().Int64("offset", at).Msg("fetch works again")
			s.troubledSince.Store(nil)
		}
		if trouble = err; err != nil {
			sleep(s.admit, 100*time.Millisecond)
		}
	}
}

// fetchOnce makes one fetch, takes its records in hand, and returns the offset
// to go on at. If the topic was gone it first makes sure that it is the same.
func (s *session) fetchOnce(at int64, gone bool) (int64, error) {
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
	if gone {
		if err := s.compareLog(page.HighWatermark); err != nil {
			return at, err
		}
	}
	return s.takeAll(page, at)
}

// compareLog ends the session if the last record taken is not in the log any
// more: the topic was deleted and created again.
func (s *session) compareLog(end int64) error {
	if s.known == nil {
		return nil
	}
	rec, err := s.c.recordAt(s.admit, s.tp, s.known.Offset, end)
	if err != nil && !errors.Is(err, kafka.OffsetOutOfRange) {
		return err
	}
	if rec == nil || rec.ID() != *s.known {
		s.fail(fmt.Errorf("%w: topic %s was gone for a while", errOtherLog, s.tp.topic))
	}
	return nil
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
	if len(s.settled) > 0 && s.tracker.metAll() {
		s.settled = nil // what is left are records that do not exist any more
	}
	return at, nil
}

// take hands one record to the worker, when there is room for it.
func (s *session) take(rec *worker.Record) error {
	id := rec.ID()
	s.known = &id
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
	if err == nil {
		s.tracker.finish(it)
		return
	}
	if job.MayHaveCalled() {
		s.lease.called(it.id.Offset)
	}
	if s.admit.Err() == nil { // neither draining nor failed: this record would be lost from sight
		s.fail(fmt.Errorf("record at offset %d: %w", it.id.Offset, err))
	}
	job.Abandon() // only now: the next in line must not call for a session that has failed
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
			s.block() // by the ledger: watchPermit looks after it
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

func (s *session) block() {
	s.blocked.Add(1)
	select {
	case s.wakePermit <- struct{}{}:
	default:
	}
}

// watchPermit wakes those who wait for the ledger when it is in reach and ours
// again, and has the hold confirmed if nothing else has done so lately.
func (s *session) watchPermit() {
	for s.work.Err() == nil {
		select {
		case <-s.wakePermit:
		case <-s.work.Done():
		}
		for s.work.Err() == nil && s.blocked.Load() > 0 {
			switch {
			case s.stale():
				s.prove()
			case s.ledger.Stalled() <= stallLimit:
				s.signal()
			}
			sleep(s.work, permitPoll)
		}
	}
}

// Holds is the same question at the moment of sending. It implements worker.Permit.
func (s *session) Holds(offset int64) bool {
	select {
	case <-s.ledger.Failed():
		return false
	default:
	}
	return s.admit.Err() == nil && s.lease.covers(offset) && s.ledger.Stalled() <= stallLimit && !s.stale()
}

// stale tells whether nothing has confirmed this session within the session timeout.
func (s *session) stale() bool {
	if s.ledger.Proven() < s.c.SessionTimeout {
		return false
	}
	at := s.committedAt.Load()
	return at == nil || worker.Age(*at) >= s.c.SessionTimeout
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
		m.Lease, m.Clean = s.lease.trimmed(), p.ahead == 0
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
	s.committedAt.Store(&sent)
	s.lease.durable(c.lease)
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

// unwell says why a running session makes no progress that it should; empty if
// it does, or has not failed to for long.
func (s *session) unwell() string {
	if d := s.ledger.Stalled(); d > unwellAfter {
		return fmt.Sprintf("outcomes are not acknowledged since %s", d.Round(time.Second))
	}
	if since := s.troubledSince.Load(); since != nil && time.Since(*since) > unwellAfter {
		return fmt.Sprintf("requests cannot be read since %s", time.Since(*since).Round(time.Second))
	}
	if s.blocked.Load() > 0 && s.stale() && s.ledger.Proven() > s.c.SessionTimeout+unwellAfter {
		return "the hold on the ledger cannot be confirmed"
	}
	return ""
}

// unwellAfter is how long a broker may be slow before a replica calls itself unready.
const unwellAfter = 10 * time.Second

func ptr[T any](v T) *T { return &v }

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
