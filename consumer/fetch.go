package consumer

import (
	"errors"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go"

	"smscancel/consumer/records"
	"smscancel/worker"
)

const (
	maxFetch  = 1 << 20 // bytes of one fetch
	fetchWait = 500 * time.Millisecond

	// unwatchedLimit is how long there may be no fetch under way, which would
	// fail if the topic was deleted, before the log counts as doubtful. Deleting,
	// creating and refilling a topic takes longer.
	unwatchedLimit = 10 * time.Millisecond

	// leaderPatience is how long a log may seem to end too early before that is
	// believed: a new leader learns the high watermark a little later, and a
	// broker that was suspended takes itself for the leader until it hears
	// otherwise. A log that was replaced goes on ending too early.
	leaderPatience = 5 * time.Second
)

// fetch reads records and takes them in hand until admission ends. Its error is
// an errOtherLog.
func (s *session) fetch() error {
	at, failing, pause := s.start, error(nil), time.Duration(0)
	for s.admit.Err() == nil {
		next, err := s.fetchOnce(at)
		s.doubtful = s.doubtful || err != nil
		switch {
		case s.admit.Err() != nil:
			return nil
		case errors.Is(err, errOtherLog):
			return err
		}
		at = next
		switch {
		case err != nil && failing == nil:
			s.log.Warn().Err(err).Int64("offset", at).Msg("fetch failed, trying again")
			s.unread.Store(&trouble{time.Now(), err})
		case err == nil && failing != nil:
			s.log.Info().Int64("offset", at).Msg("fetch works again")
			s.unread.Store(nil)
		}
		if failing = err; err == nil {
			pause = 0
			continue
		}
		pause = min(max(2*pause, 100*time.Millisecond), time.Second) // what cannot be unpacked costs 64 MiB each time
		worker.Sleep(s.admit, pause)
	}
	return nil
}

// fetchOnce makes one fetch, takes its records in hand, and returns the offset
// to go on at. After any trouble, and after a time without a fetch, it first
// makes sure that the log is the same.
func (s *session) fetchOnce(at int64) (int64, error) {
	alone := s.alone()
	s.doubtful = s.doubtful || worker.Age(s.watched) > unwatchedLimit
	page, err := s.c.Records.Fetch(s.admit, records.FetchRequest{
		Topic: s.tp.topic, Partition: s.tp.partition, Offset: at,
		MaxBytes: min(maxFetch, s.share.maxBytes()), MinBytes: 1, MaxWait: fetchWait, ReadCommitted: true,
	})
	s.watched = time.Now()
	if page != nil {
		s.end.Store(page.HighWatermark)
	}
	if err == nil && alone && !s.capped { // with an error the end may be any number
		s.seeEnd(page.HighWatermark)
	}
	switch {
	case errors.Is(err, kafka.OffsetOutOfRange):
		return s.outOfRange(at)
	case err != nil:
		return at, err
	}
	if s.doubtful {
		if err := s.compareLog(page); err != nil {
			return at, err
		}
		s.doubtful = false
	}
	return s.takeAll(page, at)
}

// alone tells whether an earlier owner that has not noticed the fence cannot
// start calls any more: nothing has confirmed its hold for a session timeout.
func (s *session) alone() bool { return time.Since(s.fenced) > s.c.SessionTimeout }

// seeEnd caps the inherited lease at the highest end seen for a while: what an
// earlier owner called stood in the log when it had to stop.
func (s *session) seeEnd(end int64) {
	if s.aloneSince.IsZero() {
		s.aloneSince = time.Now()
	}
	s.highest = max(s.highest, end)
	if time.Since(s.aloneSince) > leaderPatience {
		s.capLease(s.highest)
	}
}

// capLease ends the time in which a new record may have been called by an
// earlier owner.
func (s *session) capLease(end int64) {
	s.capped = true
	if s.part.Inherited >= end {
		s.log.Debug().Int64("was", s.part.Inherited).Int64("lease", end-1).Str("cappedAt", worker.FormatTime(time.Now())).Msg("inherited lease capped")
	}
	s.part.Inherited = min(s.part.Inherited, end-1)
	s.lease.settle(s.part.Inherited)
}

// compareLog returns errOtherLog if the last record taken is not in the log any
// more: the topic was deleted and created again. One that retention has deleted
// cannot be compared.
func (s *session) compareLog(page *records.Page) error {
	if s.known == nil || s.known.Offset < page.LogStartOffset {
		return nil
	}
	rec, err := s.c.recordAt(s.admit, s.tp, s.known.Offset, page.HighWatermark)
	switch {
	case err != nil && !errors.Is(err, kafka.OffsetOutOfRange):
		return err
	case rec == nil:
		return s.tooShort(s.known.Offset)
	case rec.ID() != *s.known:
		return fmt.Errorf("%w: the record at offset %d is not the one that was read", errOtherLog, s.known.Offset)
	}
	s.shortSince = time.Time{}
	return nil
}

// tooShort judges a log that ends at or below an offset that was read: it is
// another one only if that does not change.
func (s *session) tooShort(offset int64) error {
	if s.shortSince.IsZero() {
		s.shortSince = time.Now()
	}
	if time.Since(s.shortSince) < leaderPatience {
		return fmt.Errorf("the log ends at or below offset %d, which was read already", offset)
	}
	return fmt.Errorf("%w: offset %d is past its end", errOtherLog, offset)
}

// outOfRange moves on when retention has overtaken the reader. An offset past
// the end means that the topic was created again.
func (s *session) outOfRange(at int64) (int64, error) {
	first, err := s.c.Records.Earliest(s.admit, s.tp.topic, s.tp.partition)
	if err != nil {
		return at, err
	}
	if at >= first {
		return at, s.tooShort(at)
	}
	s.c.lostToRetention(s.log, at, first, s.settled)
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
	job, size := s.part.Read(rec), len(rec.Value)
	if err := s.share.acquire(s.admit, job.SubAccountID(), size); err != nil {
		return err
	}
	it := s.tracker.take(id)
	job.Begin()
	s.tracker.runs(it, job)
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
	defer s.share.release(job.SubAccountID(), size)
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
