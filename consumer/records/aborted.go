package records

import (
	"cmp"
	"slices"
)

// abortedTransaction says that a transaction of a producer which began at an
// offset was aborted. It ends at the producer's next abort marker.
type abortedTransaction struct {
	producerID  int64
	firstOffset int64
}

// sortAborted orders transactions by where they begin, as abortFilter needs
// them. Brokers promise no order.
func sortAborted(all []abortedTransaction) {
	slices.SortFunc(all, func(a, b abortedTransaction) int { return cmp.Compare(a.firstOffset, b.firstOffset) })
}

// abortFilter tells which batches belong to aborted transactions. It is the
// algorithm of the Java consumer (CompletedFetch): walk the log, open each
// aborted transaction where it begins, close it at the producer's abort marker.
type abortFilter struct {
	ahead []abortedTransaction // not yet reached, ordered by firstOffset
	open  map[int64]struct{}   // producers within an aborted transaction
}

// drops tells whether b is a data batch of an aborted transaction. It must see
// every batch, in the order of the log.
func (f *abortFilter) drops(b *Batch) (bool, error) {
	for len(f.ahead) > 0 && f.ahead[0].firstOffset <= b.LastOffset {
		f.begin(f.ahead[0].producerID)
		f.ahead = f.ahead[1:]
	}
	if len(f.open) == 0 {
		return false, nil
	}
	if b.Control {
		return false, f.end(b)
	}
	_, aborted := f.open[b.ProducerID]
	return aborted && b.Transactional, nil
}

func (f *abortFilter) begin(producerID int64) {
	if f.open == nil {
		f.open = make(map[int64]struct{})
	}
	f.open[producerID] = struct{}{}
}

func (f *abortFilter) end(b *Batch) error {
	m, err := b.Marker()
	if err == nil && m.Type == MarkerAbort {
		delete(f.open, b.ProducerID)
	}
	return err
}
