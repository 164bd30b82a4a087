package admission

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// queueing is a scheduler with one slot, which is taken until run. Calls are
// noted in the order in which they go out.
type queueing struct {
	t       *testing.T
	a       *Admission
	blocker Pass
	sent    []string
	wait    map[string]time.Duration // until the call went out
}

func newQueueing(t *testing.T) *queueing {
	a := New(Config{Concurrency: 1})
	return &queueing{t: t, a: a, blocker: mustWait(t, a, "x"), wait: map[string]time.Duration{}}
}

// join has n calls wait, each of which will take 10 ms.
func (q *queueing) join(name string, n int, ticket Ticket) {
	q.t.Helper()
	for range n {
		go func() {
			start := time.Now()
			p, err := q.a.Wait(q.t.Context(), ticket)
			if err != nil {
				q.t.Errorf("%s: %v", name, err)
				return
			}
			q.sent = append(q.sent, name) // one slot: never two at once
			q.wait[name] = time.Since(start)
			<-time.After(10 * time.Millisecond)
			p.Done(answered)
		}()
		synctest.Wait() // it stands in line before the next comes
	}
}

// run lets all go and returns the order.
func (q *queueing) run() []string {
	q.blocker.Done(answered)
	mustBeEmpty(q.t, q.a)
	return q.sent
}

func ticket(sub string, lane int, due time.Duration) Ticket {
	return Ticket{SubAccountID: sub, Lane: lane, Due: time.Now().Add(due), Dated: true, Arrival: time.Now()}
}

func undated(sub string, age time.Duration) Ticket {
	return Ticket{SubAccountID: sub, Due: time.Now().Add(10*time.Minute - age), Arrival: time.Now()}
}

func TestCallsOfASubAccountGoByDeadlineThenByArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueueing(t)
		now := time.Now()
		at := func(due, arrival time.Duration, dated bool) Ticket {
			return Ticket{SubAccountID: "a", Due: now.Add(due), Dated: dated, Arrival: now.Add(arrival)}
		}
		q.join("tomorrow", 1, at(24*time.Hour, 1, true))
		q.join("in an hour", 1, at(time.Hour, 2, true))
		q.join("no deadline", 1, at(10*time.Minute, 3, false))
		q.join("in 20 s, came later", 1, at(20*time.Second, 5, true))
		q.join("in 20 s, came back", 1, at(20*time.Second, 4, true)) // it had a place already, and lost its permit
		q.join("in 5 min", 1, at(5*time.Minute, 6, true))
		got := q.run()
		want := []string{"in 20 s, came back", "in 20 s, came later", "in 5 min", "no deadline", "in an hour", "tomorrow"}
		if !slices.Equal(got, want) {
			t.Errorf("sent %q, want %q", got, want)
		}
	})
}

func TestACallDueSoonOvertakesEveryBacklog(t *testing.T) {
	for name, backlog := range map[string]func() Ticket{
		"due tomorrow, of the same sub-account": func() Ticket { return ticket("a", 0, 24*time.Hour) },
		"due tomorrow, of another":              func() Ticket { return ticket("b", 0, 24*time.Hour) },
		"without deadlines, an hour old":        func() Ticket { return undated("a", time.Hour) },
		"without deadlines, of another":         func() Ticket { return undated("b", time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueueing(t)
				q.join("bulk", 300, backlog())
				q.join("soon", 1, ticket("a", 0, 20*time.Second))
				if got := slices.Index(q.run(), "soon"); got != 0 {
					t.Errorf("sent as number %d", got)
				}
			})
		})
	}
}

// The higher lane's call waits for the call in hand and for one that the lower
// lane may have earned, not for the backlog.
func TestAHigherLaneGoesBeforeABacklogOfALowerOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueueing(t)
		q.join("bulk", 1000, ticket("a", 1, 24*time.Hour))
		q.blocker.Done(answered)
		elapse(5 * time.Millisecond)
		for i := range 20 { // while the backlog is under way
			name := fmt.Sprint("interactive", i)
			q.join(name, 1, ticket("a", 0, 23*time.Hour))
			elapse(137 * time.Millisecond)
			if wait, ok := q.wait[name]; !ok || wait > 20*time.Millisecond {
				t.Errorf("%s waited %v, a call takes 10ms", name, wait)
			}
		}
		q.run()
	})
}

func TestALowerLaneIsNeverStarved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueueing(t)
		q.join("low", 20, ticket("a", 2, time.Hour))
		q.join("middle", 20, ticket("a", 1, time.Hour))
		q.join("high", 320, ticket("a", 0, 10*time.Second)) // urgent besides
		got := q.run()[:320]
		for _, lane := range []string{"low", "middle"} {
			n := 0
			for _, name := range got {
				if name == lane {
					n++
				}
			}
			if n < 18 { // the two may be due at once, and then one waits for the other
				t.Errorf("%d of 320 went to the lane %s, want one of 16 or 17", n, lane)
			}
		}
		if n := slices.Index(got, "low"); n > 16 {
			t.Errorf("the lowest lane's first call was number %d", n)
		}
	})
}

func TestSubAccountsTakeTurnsWhereNoDeadlineIsNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueueing(t)
		q.join("a", 100, ticket("a", 0, 2*time.Hour))
		q.join("b", 3, ticket("b", 0, 3*time.Hour)) // due later, and came later
		q.join("c", 3, undated("c", 0))
		if got := strings.Join(q.run()[:9], ""); got != "abcabcabc" {
			t.Errorf("turns %s", got)
		}
	})
}

func TestNearDeadlinesGoFirstWhateverTheirSubAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueueing(t)
		for i := range 30 {
			q.join(fmt.Sprint(30-i), 1, ticket(fmt.Sprint("sub", i%5), 0, time.Duration(50-i)*time.Second))
		}
		got := q.run()
		inOrder := 0
		for i := 1; i < len(got); i++ {
			if len(got[i-1]) < len(got[i]) || len(got[i-1]) == len(got[i]) && got[i-1] < got[i] {
				inOrder++
			}
		}
		if got[0] != "1" || got[1] != "2" || inOrder < 20 { // every fourth goes by turn
			t.Errorf("sent %q", got)
		}
	})
}

// A sub-account whose every call is urgent leaves a quarter to the others.
func TestNearDeadlinesOfOneSubAccountDoNotStarveTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueueing(t)
		q.join("urgent", 400, ticket("a", 0, 30*time.Second))
		q.join("b", 50, ticket("b", 0, 24*time.Hour))
		got := q.run()
		n, most := 0, 0
		for i, last := 0, -1; i < len(got) && n < 50; i++ {
			if got[i] == "b" {
				n, most, last = n+1, max(most, i-last), i
			}
		}
		if n != 50 || most > 8 {
			t.Errorf("%d calls of the other sub-account went, %d admissions apart at most", n, most)
		}
	})
}

// Not a fault: a million bulk requests wait, more than any --window lets in. Promise:
// an interactive call goes out when the call in hand ends, or the one that the lower
// lane had earned; a bulk call due in 20 s goes before all that are due tomorrow.
func TestAMillionWaitersAreOvertaken(t *testing.T) {
	a := New(Config{Concurrency: 1})
	inHand := mustWait(t, a, "a")
	tomorrow := ticket("a", 1, 24*time.Hour)
	for range 1_000_000 {
		a.enter(tomorrow)
	}
	sentOf := func(w *waiter) bool { return w.pass.grant != nil }
	for i := range 100 {
		soon, _ := a.enter(ticket("a", 1, 20*time.Second))
		interactive, _ := a.enter(ticket("a", 0, 23*time.Hour))
		inHand.Done(answered)
		if !sentOf(interactive) && !sentOf(soon) {
			t.Fatalf("number %d: one that is due tomorrow went first", i)
		}
		first, then := interactive, soon
		if sentOf(soon) { // the lower lane had earned it
			first, then = soon, interactive
		}
		first.pass.Done(answered)
		if !sentOf(then) {
			t.Fatalf("number %d: one that is due tomorrow went before the second", i)
		}
		inHand = then.pass
	}
	if n := a.Waiting().Slot; n != 1_000_000 {
		t.Errorf("%d bulk requests wait still", n)
	}
}
