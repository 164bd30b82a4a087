package consumer

import (
	"sync"

	"smscancel/worker"
)

// tracker knows which records of a partition have a durable outcome, and so
// the watermark: the offset below which all have. It is safe for concurrent use.
type tracker struct {
	mu    sync.Mutex
	items []*item // taken in hand at or beyond the watermark, in the order of offsets
	next  int64   // nothing below it is still to be taken
	last  worker.RecordID
	took  bool // last is set

	// Outcomes that the takeover found at or beyond the watermark and that were
	// not met again yet: up to which offset, and where the first of them stands.
	aheadTop    int64 // -1 = none
	aheadLedger int64

	nextLedger func() int64 // where the next outcome of this session is written, at the earliest
}

// item is one record between take and the watermark.
type item struct {
	id     worker.RecordID
	job    *worker.Job // nil when skipped or done
	done   bool
	ledger int64 // its outcome stands at this ledger offset or beyond
}

// progress is what a commit says about a partition.
type progress struct {
	watermark int64
	last      worker.RecordID // the last record below the watermark
	known     bool            // last is set
	ledger    int64           // outcomes of records at or beyond the watermark stand here or later
	ahead     int             // 0 = there are none yet
}

func newTracker(watermark int64, last *worker.RecordID, nextLedger func() int64) *tracker {
	t := &tracker{next: watermark, aheadTop: -1, nextLedger: nextLedger}
	if last != nil {
		t.last, t.took = *last, true
	}
	return t
}

// found notes the outcomes that a takeover found at or beyond the watermark: a
// replay must find them again until the watermark has passed them all.
func (t *tracker) found(settled map[worker.RecordID]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, ledger := range settled {
		if t.aheadTop < 0 || ledger < t.aheadLedger {
			t.aheadLedger = ledger
		}
		t.aheadTop = max(t.aheadTop, id.Offset)
	}
}

// metAll tells whether everything that found named has been passed.
func (t *tracker) metAll() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next > t.aheadTop
}

// take notes a record in hand. Records are taken in the order of their offsets.
func (t *tracker) take(id worker.RecordID) *item {
	return t.add(&item{id: id, ledger: t.nextLedger()}) // its outcome is not queued yet, so it will stand here or later
}

// skip notes a record whose outcome stands in the ledger already.
func (t *tracker) skip(id worker.RecordID, ledger int64) {
	t.finish(t.add(&item{id: id, ledger: ledger}))
}

func (t *tracker) add(it *item) *item {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.items = append(t.items, it)
	t.next = it.id.Offset + 1
	return it
}

// finish notes that the outcome of a record is durable.
func (t *tracker) finish(it *item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	it.done, it.job = true, nil
	n := 0
	for n < len(t.items) && t.items[n].done {
		t.last, t.took = t.items[n].id, true
		t.items[n] = nil
		n++
	}
	t.items = t.items[n:]
}

// advance notes that no record stands between the last one taken and next:
// control markers, aborted transactions, records that retention deleted.
func (t *tracker) advance(next int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next = max(t.next, next)
}

// progress is a consistent view for a commit.
func (t *tracker) progress() progress {
	ledger := t.nextLedger() // before looking: what is taken later is written later
	t.mu.Lock()
	defer t.mu.Unlock()
	p := progress{watermark: t.next, last: t.last, known: t.took, ledger: ledger}
	if len(t.items) > 0 {
		p.watermark = t.items[0].id.Offset
	}
	for _, it := range t.items {
		p.ledger = min(p.ledger, it.ledger)
		if it.done {
			p.ahead++
		}
	}
	if p.watermark <= t.aheadTop {
		p.ledger = min(p.ledger, t.aheadLedger)
		p.ahead++
	}
	return p
}

// runs notes which job handles a record.
func (t *tracker) runs(it *item, job *worker.Job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	it.job = job
}

// oldest is the oldest record without an outcome, with its job if that runs.
func (t *tracker) oldest() (worker.RecordID, *worker.Job, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.items) == 0 {
		return worker.RecordID{}, nil, false
	}
	return t.items[0].id, t.items[0].job, true
}

// inHand is the number of records taken and not finished; done ones that wait
// for an earlier record count as finished.
func (t *tracker) inHand() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, it := range t.items {
		if !it.done {
			n++
		}
	}
	return n
}
