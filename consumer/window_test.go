package consumer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

// fill lets records of a sub-account in until there is no room, and returns how
// many.
func (s *share) fill(sub string) (n int) {
	for s.tryAcquire(sub, 1) {
		n++
	}
	return n
}

// tryAcquire is acquire that does not wait.
func (s *share) tryAcquire(sub string, size int) bool {
	asks := s.ask(sub, size)
	if asks != nil {
		s.giveUp(asks)
	}
	return asks == nil
}

func (s *share) empty(sub string, n int) {
	for range n {
		s.release(sub, 1)
	}
}

// Promise: whatever comes and goes, the window holds no more than its records and
// bytes, a sub-account no more than half of them, beyond the one record that each
// partition may always have, and who waits in vain is let in when there is room.
func TestNeitherTheWindowNorASubAccountsHalfIsExceeded(t *testing.T) {
	const largest = 40
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			w := newWindow(1+r.IntN(60), 50+r.IntN(2000))
			partitions := 1 + r.IntN(6)
			shares := make([]*share, partitions)
			for i := range shares {
				shares[i] = w.join(1 / float64(partitions))
			}
			var all inHand
			for range 500 {
				if rec := (record{shares[r.IntN(partitions)], fmt.Sprint("sub-", r.IntN(3)), r.IntN(largest)}); r.IntN(5) < 3 && rec.try() {
					all = append(all, rec)
				} else if len(all) > 0 {
					i := r.IntN(len(all))
					all[i].release()
					all = append(all[:i], all[i+1:]...)
				}
				sum := all.load("")
				if most := w.whole.most; sum != w.whole.held || sum.records > most.records+partitions || sum.bytes > most.bytes+largest*partitions {
					t.Fatalf("seed %d: %+v in hand, counted as %+v, of %+v", seed, sum, w.whole.held, most)
				}
				for n := range 3 {
					sub := fmt.Sprint("sub-", n)
					half := w.half(sub)
					if own := all.load(sub); own != half.held || own.records > half.most.records+partitions || own.bytes > half.most.bytes+largest*partitions {
						t.Fatalf("seed %d: %+v of %s in hand, counted as %+v, of %+v", seed, own, sub, half.held, half.most)
					}
				}
			}
			let := make(chan error, partitions)
			for _, s := range shares {
				go func() { let <- s.acquire(t.Context(), "sub-0", 1) }()
			}
			synctest.Wait()
			for _, rec := range all {
				rec.release()
			}
			for range shares {
				if err := <-let; err != nil {
					t.Fatal(err)
				}
			}
			for _, s := range shares {
				s.release("sub-0", 1)
			}
			if w.whole.held != (load{}) || w.whole.pooled != (load{}) || len(w.halves)+len(w.waiting) > 0 {
				t.Errorf("seed %d: left behind: %+v", seed, w)
			}
		})
	}
}

// record is one that a partition has in hand.
type record struct {
	s    *share
	sub  string
	size int
}

func (r *record) try() bool { return r.s.tryAcquire(r.sub, r.size) }
func (r *record) release()  { r.s.release(r.sub, r.size) }

type inHand []record

// load is what those of a sub-account amount to; empty = all.
func (rs inHand) load(sub string) (sum load) {
	for _, r := range rs {
		if sub == "" || r.sub == sub {
			sum.add(load{1, r.size})
		}
	}
	return sum
}

// Fault: a sub-account with a backlog without end is held up in partitions of its
// own, or in those of another one. Promise: it has half of the window, and the other
// one finds room for a third of it in any partition, were that the last to come.
func TestASubAccountThatIsHeldUpLeavesRoomToAnother(t *testing.T) {
	for _, partitions := range []int{1, 2, 8, 40} {
		w := newWindow(20_000, 64<<20)
		part, held := 1/float64(partitions+1), 0
		shares := make([]*share, partitions)
		for i := range shares {
			shares[i] = w.join(part)
			held += shares[i].fill("held")
		}
		if held > 10_000 || held < 8_500 {
			t.Errorf("%d partitions hold %d of 20,000 records", partitions, held)
		}
		for _, s := range append(shares, w.join(part)) {
			got := s.fill("other")
			s.empty("other", got)
			if got < 20_000/3 {
				t.Errorf("beside %d partitions another sub-account may have %d of 20,000 records in hand", partitions, got)
			}
		}
	}
}

// Fault: all sub-accounts have a backlog without end in one lane, and are paused.
// Promise: an urgent lane has its part of the window all the same, whatever the
// number of partitions, also when its partitions come last.
func TestALanesBacklogNeverFillsTheWindowOfAnother(t *testing.T) {
	for _, bulk := range []int{1, 8, 48} {
		for _, subs := range []int{1, 2, 5} {
			w := newWindow(20_000, 64<<20)
			const lanes, urgent = 2, 2
			for range bulk {
				s := w.join(1 / float64(lanes*bulk))
				for n := range subs {
					s.fill(fmt.Sprint("acme-", n))
				}
			}
			for range urgent {
				if got := w.join(1.0 / (lanes * urgent)).fill("acme-0"); got < 20_000/32 {
					t.Errorf("%d partitions of %d sub-accounts: an urgent one may have %d records in hand", bulk, subs, got)
				}
			}
		}
	}
}

func TestWhoWaitsForASubAccountsHalfHoldsUpNobodyBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(20, 1<<20)
		a, b := w.join(.5), w.join(.5)
		a.fill("held")
		b.fill("other")
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- a.acquire(t.Context(), "held", 1) }()
		synctest.Wait()
		go func() { second <- b.acquire(t.Context(), "other", 1) }()
		synctest.Wait()
		b.release("other", 1)
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(first) > 0 {
			t.Error("the sub-account got more than its half")
		}
		a.release("held", 1)
		if err := <-first; err != nil {
			t.Fatal(err)
		}
	})
}

func TestAWaitThatEndsTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(10, 1000)
		s := w.join(1)
		n := s.fill("acme")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.acquire(ctx, "acme", 1) }()
		synctest.Wait()
		cancel()
		if err := <-ended; err == nil {
			t.Error("it was let in")
		}
		s.empty("acme", n)
		if w.whole.held != (load{}) || len(w.waiting) != 0 {
			t.Errorf("left behind: %+v, %d waiting", w.whole.held, len(w.waiting))
		}
	})
}

// The room is granted at the same instant at which the wait ends.
func TestWhatIsGrantedToNobodyIsGivenBack(t *testing.T) {
	w := newWindow(10, 1000)
	s, other := w.join(.5), w.join(.5)
	n := s.fill("acme")
	asks := s.ask("acme", 1)
	next := other.ask("acme", 1)
	for next == nil {
		next = other.ask("acme", 1)
	}
	s.release("acme", 1)
	<-asks.granted
	s.giveUp(asks)
	<-next.granted
	s.empty("acme", n-1)
	other.leave()
	if w.whole.held != (load{}) || len(w.waiting)+len(w.halves) != 0 {
		t.Errorf("left behind: %+v, %d waiting", w.whole.held, len(w.waiting))
	}
}

func TestWindowAdmitsARecordLargerThanAShareAlone(t *testing.T) {
	w := newWindow(10, 100)
	s := w.join(1)
	if !s.tryAcquire("acme", 5000) {
		t.Error("it was not let in")
	}
	if s.tryAcquire("acme", 1) {
		t.Error("a second record was let in beside it")
	}
}

// Promise: with the smallest windows every partition has a record in hand all the same.
func TestEachPartitionMayAlwaysHaveOneRecord(t *testing.T) {
	for _, size := range []int{1, 2, 3, 10} {
		w := newWindow(size, 1)
		for n := range 12 {
			if got := w.join(1.0 / 12).fill("acme"); got < 1 {
				t.Errorf("window of %d: partition %d may have none", size, n)
			}
		}
	}
}
