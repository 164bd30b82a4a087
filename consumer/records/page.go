package records

import (
	"fmt"
	"iter"
)

// Page is the answer to one fetch. Its records share its memory, which is not
// used again before [Page.Release]: they stay valid, and keep the page alive, as
// long as they are held. A page may be iterated any number of times.
type Page struct {
	HighWatermark    int64 // the offset after the last record that is replicated
	LastStableOffset int64 // the offset below which no transaction is open
	LogStartOffset   int64 // the first offset that is kept; -1 if the broker did not say

	// NextOffset is where to fetch next once the page has been iterated
	// without an error. It lies beyond markers, aborted transactions and what
	// compaction took, so a tail without records stalls nobody. It is the
	// offset asked for if nothing came.
	NextOffset int64

	from      int64 // the offset asked for; lower records are left out
	committed bool
	aborted   []abortedTransaction // by first offset
	raw       []byte               // whole batches
	broken    error                // what comes after them; nil if nothing or a partial batch

	memory *Memory
	body   []byte // what raw is a part of
}

// Batches yields the batches of the page in the order of the log, control
// batches included. With ReadCommitted the batches of aborted transactions are
// left out. A damaged batch ends the iteration with an error; all before it
// have been yielded by then.
func (p *Page) Batches() iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) { p.visit(yield) }
}

// Records yields the records of the page in the order of the log, from the
// offset asked for, without control markers. An error ends the iteration; all
// records before the damage have been yielded by then.
func (p *Page) Records() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		p.visit(func(b Batch, err error) bool {
			if err != nil {
				return yield(Record{}, err)
			}
			return b.Control || b.visit(yield)
		})
	}
}

func (p *Page) visit(yield func(Batch, error) bool) {
	filter := abortFilter{ahead: p.aborted}
	for rest := p.raw; len(rest) > 0; {
		b := parseBatch(rest, p.from)
		rest = rest[b.size():]
		wanted, err := p.wants(&filter, &b)
		if err != nil {
			yield(Batch{}, err)
			return
		}
		if wanted && !yield(b, nil) {
			return
		}
	}
	if p.broken != nil {
		yield(Batch{}, p.broken)
	}
}

// wants checks a batch and tells whether the reader gets to see it.
func (p *Page) wants(filter *abortFilter, b *Batch) (bool, error) {
	if err := b.check(); err != nil {
		return false, err
	}
	if p.committed {
		if dropped, err := filter.drops(b); dropped || err != nil {
			return false, err
		}
	}
	return b.LastOffset >= p.from, nil
}

func newPage(r *partitionResponse, req FetchRequest) *Page {
	p := &Page{
		HighWatermark:    r.highWatermark,
		LastStableOffset: r.lastStableOffset,
		LogStartOffset:   r.logStartOffset,
		NextOffset:       req.Offset,
		from:             req.Offset,
		committed:        req.ReadCommitted,
		aborted:          r.aborted,
		memory:           req.Memory,
		body:             r.body,
	}
	sortAborted(p.aborted)
	p.frame(r.batches)
	return p
}

// frame finds where each batch ends. The last one may be cut off, as brokers
// fill a response by bytes and not by batches; it comes whole next time.
func (p *Page) frame(raw []byte) {
	end, last := 0, int64(-1)
	for end < len(raw) {
		f, err := parseFrame(raw[end:])
		if err == nil && f.size > 0 && f.baseOffset <= last {
			err = fmt.Errorf("batch at offset %d follows offset %d", f.baseOffset, last)
		}
		if err != nil {
			p.broken = err
			break
		}
		if f.size == 0 {
			break
		}
		end += f.size
		last = f.lastOffset
	}
	p.raw = raw[:end:end]
	if end == 0 && len(raw) > 0 && p.broken == nil {
		p.broken = fmt.Errorf("no whole batch in %d bytes", len(raw))
	}
	p.NextOffset = max(p.from, last+1)
}

// stalled is an error if the page has batches but leads nowhere: fetching again
// would yield the same for ever.
func (p *Page) stalled() error {
	if len(p.raw) > 0 && p.NextOffset == p.from && p.broken == nil {
		return fmt.Errorf("the broker sent only batches below offset %d", p.from)
	}
	return nil
}
