package consumer

import (
	"math/rand/v2"
	"testing"

	"smscancel/worker"
)

func id(offset int64) worker.RecordID {
	return worker.RecordID{Offset: offset, Timestamp: offset * 10, Hash: uint32(offset)}
}

func TestWatermarkNeverPassesAnUnfinishedRecord(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		ledger := int64(100)
		tr := newTracker(5, nil, func() int64 { return ledger })
		outcome := map[int64]int64{} // offset → where its outcome will stand, of unfinished and finished ones
		open := map[int64]*item{}
		next := int64(5)
		for range 300 {
			switch r.IntN(4) {
			case 0, 1:
				next += int64(r.IntN(3)) // gaps: markers, aborted transactions
				open[next] = tr.take(id(next))
				next++
			case 2:
				for offset, it := range open { // any
					outcome[offset] = ledger
					ledger++
					tr.finish(it)
					delete(open, offset)
					break
				}
			case 3:
				next += int64(r.IntN(2))
				tr.advance(next)
			}
			p := tr.progress()
			want := next
			for offset := range open {
				want = min(want, offset)
			}
			if len(open) > 0 && p.watermark != want {
				t.Fatalf("seed %d: watermark %d, oldest unfinished record %d", seed, p.watermark, want)
			}
			if len(open) == 0 && p.watermark > next {
				t.Fatalf("seed %d: watermark %d beyond %d", seed, p.watermark, next)
			}
			for offset, at := range outcome {
				if offset >= p.watermark && at < p.ledger {
					t.Fatalf("seed %d: replay from %d misses the outcome of offset %d at %d", seed, p.ledger, offset, at)
				}
			}
			if p.known && p.last.Offset >= p.watermark {
				t.Fatalf("seed %d: fingerprint of offset %d, watermark %d", seed, p.last.Offset, p.watermark)
			}
		}
	}
}

func TestReplayStartCoversOutcomesThatAreWrittenButNotNoticedYet(t *testing.T) {
	ledger := int64(10)
	tr := newTracker(0, nil, func() int64 { return ledger })
	tr.take(id(0))
	ledger = 50 // its outcome was acknowledged at 10, and so were others, before finish ran
	if p := tr.progress(); p.ledger > 10 {
		t.Errorf("a replay from %d would miss the outcome at 10", p.ledger)
	}
}

func TestSkippedRecordsAreFinishedWhereTheirOutcomeStands(t *testing.T) {
	tr := newTracker(0, nil, func() int64 { return 90 })
	first := tr.take(id(0))
	tr.skip(id(1), 40)
	if p := tr.progress(); p.watermark != 0 || p.ledger != 40 {
		t.Errorf("watermark %d, ledger %d; want 0 and 40", p.watermark, p.ledger)
	}
	tr.finish(first)
	if p := tr.progress(); p.watermark != 2 || p.last != id(1) || p.ledger != 90 {
		t.Errorf("after the first: %+v", p)
	}
}

// Promise: until the watermark has passed every outcome that a takeover found
// ahead of it, a commit says where they stand; else the next owner would not
// see them and settle their requests again.
func TestACommitDoesNotForgetOutcomesThatWereFoundAhead(t *testing.T) {
	tr := newTracker(0, nil, func() int64 { return 900 })
	settled := map[worker.RecordID]int64{id(1): 41, id(2): 40, id(3): 42}
	tr.found(settled)
	if p := tr.progress(); p.ledger != 40 || p.ahead == 0 {
		t.Errorf("before any is met: replay from %d, %d ahead; want 40", p.ledger, p.ahead)
	}
	first := tr.take(id(0))
	for offset := int64(1); offset <= 3; offset++ {
		tr.skip(id(offset), settled[id(offset)])
	}
	if p := tr.progress(); p.watermark != 0 || p.ledger != 40 {
		t.Errorf("behind an unfinished record: watermark %d, replay from %d", p.watermark, p.ledger)
	}
	tr.finish(first)
	if p := tr.progress(); p.watermark != 4 || p.ledger != 900 || p.ahead != 0 {
		t.Errorf("all passed: %+v", p)
	}
}
