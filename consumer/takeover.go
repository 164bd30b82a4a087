package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"smscancel/consumer/records"
	"smscancel/worker"
)

// takeover is the way from "assigned" to a session: fence, read the commit,
// decide where to begin, replay the ledger.
type takeover struct {
	c   *Consumer
	tp  topicPartition
	log zerolog.Logger

	fenced   time.Time // when the fence stood
	read     committed // as it was found
	commit   committed // as far as it concerns the log and the ledger that are there
	first    int64     // first offset of the request partition
	end      int64     // its end, as read after the fence
	offset   int64     // where to begin
	last     *worker.RecordID
	lease    int64
	position func(at, end int64) // replay progress
	claim    func(*commitment)   // has it committed while the replay goes on

	idle map[fence]bool // fences of this process under which no call was started
	lost int64          // records beyond the watermark that retention deleted

	replaced bool // the outcome topic is another one than was committed, under the same name
	trusted  bool // the metadata describes this ledger and this request log
	clean    bool // and nothing was written after it: no record at or beyond the offset has an outcome

	ledgerEnd int64 // of the outcome partition, as read after the fence
}

// run takes the partition over. The ledger is closed again on error.
func (t *takeover) run(ctx context.Context) (*session, error) {
	if err := t.c.confirm(ctx, t.tp); err != nil {
		return nil, err
	}
	if err := t.c.Outcomes.Check(ctx); err != nil {
		return nil, err
	}
	ledger, err := t.fence(ctx)
	if err != nil {
		return nil, err
	}
	s, err := t.settle(ctx, ledger)
	if err != nil {
		f := fenceOf(ledger)
		t.log.Debug().Int64("producerId", f.pid).Int16("epoch", f.epoch).Err(err).Msg("takeover given up")
		t.idle[f] = true
		ledger.Close()
		return nil, err
	}
	return s, nil
}

// fence gives up after a while, so that the reason is seen.
func (t *takeover) fence(ctx context.Context) (Ledger, error) {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	return t.c.Outcomes.Fence(ctx, t.tp.topic, t.tp.partition)
}

const fenceTimeout = 30 * time.Second

func (t *takeover) settle(ctx context.Context, ledger Ledger) (*session, error) {
	t.fenced = time.Now()
	if err := t.inspect(ctx); err != nil {
		return nil, err
	}
	if err := t.decide(ctx); err != nil {
		return nil, err
	}
	if err := t.overtaken(ledger); err != nil {
		return nil, err
	}
	from, err := t.replayStart(ctx, ledger)
	if err != nil {
		return nil, err
	}
	if t.trusted {
		t.inherit(ledger, true)
		if err := t.signCommit(ledger); err != nil {
			return nil, err
		}
	}
	s := &session{
		c: t.c, tp: t.tp, log: t.log, read: t.commit, ledger: ledger, settled: map[worker.RecordID]int64{},
		start: t.offset, fenced: t.fenced,
		part: &worker.Partition{
			Handler: t.c.Handler, ClusterID: t.c.ClusterID, Topic: t.tp.topic, Partition: t.tp.partition,
			Lane: slices.Index(t.c.Topics, t.tp.topic), Ledger: ledger, Index: t.c.newIndex(),
		},
	}
	found := 0
	err = ledger.Replay(ctx, from, func(o worker.Settled) {
		found++
		if o.Record.Offset >= t.offset-t.lost {
			s.settled[o.Record] = o.Ledger
		}
		s.part.Remember(o)
	}, t.position)
	if err != nil {
		return nil, err
	}
	if !t.trusted {
		t.inherit(ledger, found > 0)
	}
	s.part.Inherited = t.lease
	s.lease = newLease(t.lease)
	t.c.lostToRetention(t.log, t.offset-t.lost, t.offset, s.settled) // said once, and not at every try
	s.tracker = newTracker(t.offset, t.last, ledger.Next)
	s.tracker.found(s.settled)
	s.known = t.last
	s.end.Store(t.end)
	s.open()
	t.say(fenceOf(ledger), from, found, len(s.settled))
	return s, nil
}

// say logs what a reader of the topics needs to understand this owner's outcomes.
func (t *takeover) say(f fence, from int64, found, ahead int) {
	t.log.Info().Str("group", t.c.Group).Int64("producerId", f.pid).Int16("epoch", f.epoch).Str("fencedAt", worker.FormatTime(t.fenced)).
		Int64("offset", t.offset).Int64("end", t.end).Int64("lease", t.lease).Dict("commit", t.read.dict()).Bool("metadata", t.trusted).
		Int64("replayedFrom", from).Int("outcomes", found).Int("settledAhead", ahead).Msg("partition taken over")
}

// inspect reads the commit and the bounds of the request partition. It runs
// after the fence: what an older owner called, it leased before.
func (t *takeover) inspect(ctx context.Context) (err error) {
	commits, err := t.c.readCommits(ctx, []topicPartition{t.tp})
	if err != nil {
		return err
	}
	t.commit = commits[t.tp]
	t.read = t.commit
	if t.first, err = t.c.Records.Earliest(ctx, t.tp.topic, t.tp.partition); err != nil {
		return fmt.Errorf("first offset: %w", err)
	}
	if t.end, err = t.c.Records.Latest(ctx, t.tp.topic, t.tp.partition); err != nil {
		return fmt.Errorf("end offset: %w", err)
	}
	return nil
}

// decide finds the offset to begin at, and whether the metadata can be trusted.
func (t *takeover) decide(ctx context.Context) error {
	m := t.commit.meta
	t.trusted = m.of(t.c.ClusterID, t.c.OutcomeTopic)
	if t.trusted && m.N != t.c.N {
		return &worker.PartitionCountError{Topic: t.c.OutcomeTopic, Was: m.N, Is: t.c.N}
	}
	if t.trusted {
		same, err := t.sameLog(ctx)
		if err != nil {
			return err
		}
		if !same {
			t.log.Warn().Int64("committed", t.commit.offset).Int64("first", t.first).Int64("end", t.end).
				Msg("the request partition is another log than the one that was committed; beginning at its earliest record")
			t.trusted = false
			t.commit.offset = -1
		}
	}
	t.offset = t.commit.offset
	if t.commit.offset > t.end { // of a log that is gone
		t.offset = t.first
	}
	if t.offset < t.first {
		if t.commit.offset >= 0 {
			t.lost = t.first - t.offset
		}
		t.offset = t.first
	}
	if t.trusted && m.Last != nil {
		id := m.Last.id()
		t.last = &id
	}
	return nil
}

// overtaken returns an error if a later owner has committed already: its outcomes
// stand behind our marker, and we would call what they settle.
func (t *takeover) overtaken(ledger Ledger) error {
	pid, epoch := ledger.Identity()
	if m := t.commit.meta; t.trusted && m.PID == pid && m.Epoch > epoch {
		return fmt.Errorf("%w: the commit is of epoch %d, ours is %d", worker.ErrFenced, m.Epoch, epoch)
	}
	return nil
}

// sameLog tells whether the last record below the watermark is still the one
// that was committed. One that retention has deleted cannot be compared. A log
// that seems to end below it is looked at again.
func (t *takeover) sameLog(ctx context.Context) (bool, error) {
	for since := time.Now(); ; {
		same, found, err := t.compareLog(ctx)
		if err != nil || found || time.Since(since) > leaderPatience {
			return same, err
		}
		if err := worker.Sleep(ctx, lookAgain); err != nil {
			return false, err
		}
		if t.end, err = t.c.Records.Latest(ctx, t.tp.topic, t.tp.partition); err != nil {
			return false, fmt.Errorf("end offset: %w", err)
		}
	}
}

const lookAgain = 100 * time.Millisecond

// compareLog is one look of sameLog; found tells whether there was something to
// compare, or nothing needed to be.
func (t *takeover) compareLog(ctx context.Context) (same, found bool, err error) {
	m := t.commit.meta
	switch {
	case t.commit.offset > t.end:
		return false, false, nil
	case m.Last == nil || m.Last.Offset < t.first:
		return true, true, nil
	}
	rec, err := t.c.recordAt(ctx, t.tp, m.Last.Offset, t.end)
	if err != nil {
		return false, false, fmt.Errorf("read the last committed record: %w", err)
	}
	return rec != nil && rec.ID() == m.Last.id(), rec != nil, nil
}

// recordAt is the first record at or after an offset and below end; nil if
// there is none.
func (c *Consumer) recordAt(ctx context.Context, tp topicPartition, offset, end int64) (*worker.Record, error) {
	for offset < end {
		page, err := c.Records.Fetch(ctx, records.FetchRequest{
			Topic: tp.topic, Partition: tp.partition, Offset: offset, MaxBytes: 64 << 10, MinBytes: 1, MaxWait: fetchWait,
		})
		if err != nil {
			return nil, err
		}
		for rec, err := range page.Records() {
			if err != nil {
				return nil, err
			}
			return &worker.Record{Offset: rec.Offset, Timestamp: time.UnixMilli(rec.Timestamp), Key: rec.Key, Value: rec.Value}, nil
		}
		if page.NextOffset <= offset {
			break
		}
		offset = page.NextOffset
	}
	return nil, nil
}

// replayStart is the ledger offset from which a replay finds both the outcomes
// of records at or beyond the watermark and those of the dedupe window.
func (t *takeover) replayStart(ctx context.Context, own Ledger) (int64, error) {
	ledger, err := t.bounds(ctx)
	if err != nil {
		return 0, err
	}
	t.clean = t.trusted && t.commit.meta.Clean && t.nobodyBetween(t.commit.meta.fence(), fenceOf(own))
	t.ledgerEnd = ledger.End
	if t.trusted && t.commit.meta.Ledger > ledger.End {
		t.log.Error().Int64("ledgerOffset", t.commit.meta.Ledger).Int64("end", ledger.End).
			Msg("the outcome topic is another one than was committed; replaying all of it")
		t.trusted, t.replaced = false, true
	}
	start := ledger.First
	if t.trusted {
		start = max(min(t.commit.meta.Ledger, ledger.Since), ledger.First)
	}
	if t.mayMiss(ledger) {
		err = t.ledgerCanAnswer(ctx, ledger.Oldest)
	}
	return start, err
}

// bounds are those of the ledger. One that seems to end below the commit is
// looked at again.
func (t *takeover) bounds(ctx context.Context) (worker.LedgerBounds, error) {
	for since := time.Now(); ; {
		b, err := t.c.Outcomes.Bounds(ctx, t.tp.partition, time.Now().Add(-t.c.DedupeWindow))
		if err != nil || !t.trusted || t.commit.meta.Ledger <= b.End || time.Since(since) > leaderPatience {
			return b, err
		}
		if err := worker.Sleep(ctx, lookAgain); err != nil {
			return b, err
		}
	}
}

// mayMiss tells whether the ledger may have held outcomes of records to come
// that it has deleted since.
func (t *takeover) mayMiss(ledger worker.LedgerBounds) bool {
	if !t.trusted {
		return ledger.First > 0
	}
	return !t.clean && t.commit.meta.Ledger < ledger.First
}

// ledgerCanAnswer refuses to handle records that may have been settled by
// outcomes which the ledger has deleted since.
func (t *takeover) ledgerCanAnswer(ctx context.Context, oldest time.Time) error {
	rec, err := t.c.recordAt(ctx, t.tp, t.offset, t.end)
	if err != nil || rec == nil {
		return err
	}
	if oldest.IsZero() { // all of it is gone
		oldest = time.Now()
	}
	if !rec.Timestamp.Before(oldest) {
		return nil
	}
	return fmt.Errorf("%w: the record at offset %d is of %s, the oldest outcome that is kept of %s: set the offset of group %s to %s or later",
		errLedgerTooShort, rec.Offset, worker.FormatTime(rec.Timestamp), worker.FormatTime(oldest), t.c.Group, worker.FormatTime(oldest))
}

var errLedgerTooShort = errors.New("outcomes of the first requests may have been deleted")

// inherit decides how far calls may have been started before, or may still be by
// an owner that has not noticed the fence; see session.capLease.
func (t *takeover) inherit(ledger Ledger, outcomes bool) {
	m := t.commit.meta
	switch {
	case t.trusted && t.nobodyBetween(m.fence(), fenceOf(ledger)):
		t.lease = m.Lease
	case t.trusted || t.replaced || outcomes || !t.nobodyBetween(fence{fenceOf(ledger).pid, -1}, fenceOf(ledger)):
		// Somebody else wrote in between, or the commit says nothing, and another
		// group's member may be at work.
		t.lease = leaseUnknown
	default:
		t.lease = -1
	}
}

// signCommit has the commit that was found written again under our own epoch,
// before the replay, which may take long: whoever takes over from a takeover
// that was cut short then sees that nobody has called in between.
func (t *takeover) signCommit(ledger Ledger) error {
	m := *t.commit.meta
	m.Offset, m.Lease = t.offset, t.lease
	m.PID, m.Epoch = ledger.Identity()
	if t.clean { // there is no outcome yet: the first will stand behind our fence
		m.Ledger = t.ledgerEnd
	}
	m.Clean = false
	text, err := m.encode()
	if err == nil {
		t.claim(&commitment{offset: m.Offset, lease: m.Lease, ledger: m.Ledger, text: text, over: t.commit.raw})
	}
	return err
}

// fence names a hold on a ledger.
type fence struct {
	pid   int64
	epoch int16
}

func fenceOf(l Ledger) fence {
	pid, epoch := l.Identity()
	return fence{pid, epoch}
}

// nobodyBetween tells whether every fence between two was an idle one of our own.
func (t *takeover) nobodyBetween(was, is fence) bool {
	if was.pid != is.pid || was.epoch >= is.epoch {
		return false
	}
	for e := was.epoch + 1; e < is.epoch; e++ {
		if !t.idle[fence{was.pid, e}] {
			return false
		}
	}
	return true
}
