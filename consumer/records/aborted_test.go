package records

import (
	"slices"
	"testing"
)

func committed(raw []byte, from int64, aborted ...abortedTransaction) *Page {
	return newPage(&partitionResponse{batches: raw, aborted: aborted}, FetchRequest{Offset: from, ReadCommitted: true})
}

func TestRecordsOfAbortedTransactionsAreDropped(t *testing.T) {
	// Producers 1 and 2 interleave: 1 aborts, then commits; 2 commits, then
	// aborts; a producer without transactions writes in between.
	raw := log(t,
		plain(0, 2).in(1), plain(2, 2).in(2), plain(4, 1), plain(5, 1).in(1),
		markerOf(6, 1, MarkerAbort), plain(7, 1).in(1), markerOf(8, 2, MarkerCommit),
		plain(9, 1).in(2), markerOf(10, 1, MarkerCommit), plain(11, 1).in(2), markerOf(12, 2, MarkerAbort),
	)
	aborted := []abortedTransaction{{producerID: 2, firstOffset: 9}, {producerID: 1, firstOffset: 0}} // in no order
	p := committed(raw, 0, aborted...)
	for range 2 { // the second time as well
		if got, err := read(p); err != nil || !slices.Equal(got, []int64{2, 3, 4, 7}) {
			t.Errorf("records %v, %v; want 2, 3, 4, 7", got, err)
		}
	}
	if p.NextOffset != 13 {
		t.Errorf("next offset %d, want 13", p.NextOffset)
	}
	all := newPage(&partitionResponse{batches: raw, aborted: aborted}, FetchRequest{})
	if got, err := read(all); err != nil || len(got) != 9 {
		t.Errorf("read uncommitted: %v, %v; want all 9", got, err)
	}
}

func TestAnAbortedTransactionThatBeganBeforeThePageIsDropped(t *testing.T) {
	raw := log(t, plain(50, 3).in(1), markerOf(53, 1, MarkerAbort), plain(54, 1).in(1))
	got, err := read(committed(raw, 51, abortedTransaction{producerID: 1, firstOffset: 10}))
	if err != nil || !slices.Equal(got, []int64{54}) {
		t.Errorf("records %v, %v; want 54", got, err)
	}
}

func TestAnAbortedProducersOtherRecordsStay(t *testing.T) {
	// The ledger's writers append non-transactional batches with the id that
	// they fence with.
	other := plain(1, 1)
	other.producerID = 1
	raw := log(t, plain(0, 1).in(1), other, plain(2, 1).in(1), markerOf(3, 1, MarkerAbort))
	got, err := read(committed(raw, 0, abortedTransaction{producerID: 1, firstOffset: 0}))
	if err != nil || !slices.Equal(got, []int64{1}) {
		t.Errorf("records %v, %v; want 1", got, err)
	}
}

func TestMarkersOfAbortedTransactionsAreSeen(t *testing.T) {
	raw := log(t, plain(0, 1).in(1), markerOf(1, 1, MarkerAbort))
	var seen []int64
	for b, err := range committed(raw, 0, abortedTransaction{producerID: 1}).Batches() {
		if err != nil || !b.Control {
			t.Fatalf("batch %+v, %v; want the marker alone", b, err)
		}
		seen = append(seen, b.LastOffset)
	}
	if !slices.Equal(seen, []int64{1}) {
		t.Errorf("markers %v, want 1", seen)
	}
}

func TestAMarkerThatCannotBeReadEndsACommittedPage(t *testing.T) {
	// It may be the end of an aborted transaction: going on would drop records.
	raw := log(t, plain(0, 1).in(1), batchOf{base: 1, producerID: 1, attributes: controlBit, items: []item{{}}}, plain(2, 1))
	if got, err := read(committed(raw, 0, abortedTransaction{producerID: 1})); err == nil || len(got) > 0 {
		t.Errorf("records %v, %v; want an error", got, err)
	}
}

func TestManyAbortedTransactionsAreNoBurden(t *testing.T) {
	const n = 20_000
	var aborted []abortedTransaction
	var batches []batchOf
	for i := range int64(n) {
		aborted = append(aborted, abortedTransaction{producerID: n - i, firstOffset: 0})
		batches = append(batches, plain(i, 1).in(n-i))
	}
	if got, err := read(committed(log(t, batches...), 0, aborted...)); err != nil || len(got) > 0 {
		t.Errorf("%d records, %v; want none", len(got), err)
	}
}
