package checker

import (
	"testing"
	"time"

	"smscancel/worker"
)

func TestACallIsOfTheAttemptThatWasNotLost(t *testing.T) {
	s := validRun(t)
	s.run.Setup.CallsLost = true
	r := s.cancel(umid(81))
	s.log(b, "debug", saysAttempt, map[string]any{"offset": r, "startedAt": s.now.Format(worker.TimeFormat), "took": 1, "httpStatus": 0, "kind": "network", "open": true})
	s.pass(5*time.Millisecond).call(b, r, counted(1))
	s.settle(b, r, worker.StatusCancelled, func(o *worker.Outcome) { count(1)(o); o.Attempts = 2 })
	s.expect()
}

func TestATimestampInTheFutureIsNotWhenARequestCame(t *testing.T) {
	s := validRun(t)
	first := s.cancel(umid(80))
	s.pass(time.Millisecond)
	second := s.cancel(umid(80))
	s.run.Requests[second].Timestamp = s.now.Add(time.Hour)
	s.call(b, first, refused(404, 1300))
	s.settle(b, first, worker.StatusFailed, failed(1, refused(404, 1300)))
	s.settle(b, second, worker.StatusDuplicate, copyOf(s, first))
	s.expect()
}

// An owner called for the second of two requests of a message, since the first was a
// duplicate, wrote neither outcome and died. To the next owner the second is one.
func TestADuplicateMayHaveBeenCalledByAnOwnerThatDied(t *testing.T) {
	s := validRun(t)
	first, second := s.cancel(umid(80)), s.cancel(umid(80))
	s.commit(b, untried+1, 2000)
	s.call(b, second, refused(404, 1300), true)
	s.pass(15 * time.Second)
	c := owner{"host-c", b.epoch + 1}
	s.take(c, untried+1, 2000, map[string]any{"offset": untried + 1, "producerId": pid, "epoch": b.epoch, "lease": 2000})
	s.commit(c, untried+1, 2000)
	s.call(c, first, refused(404, 1300))
	s.settle(c, first, worker.StatusFailed, func(o *worker.Outcome) { failed(1, refused(404, 1300))(o); o.Ambiguous = true })
	s.settle(c, second, worker.StatusDuplicate, copyOf(s, first))
	s.expect()
}

// An append takes five seconds to be acknowledged. Who comes meanwhile waits for what
// it settles, and for nothing where it came after that.
func TestA404IsSettledWhenItsOutcomeIsAcknowledged(t *testing.T) {
	for after, rules := range map[time.Duration][]Rule{3 * time.Second: nil, 7 * time.Second: {WrongDuplicate}} {
		s := validRun(t)
		first := s.cancel(umid(80))
		s.call(b, first, refused(404, 1300))
		s.settle(b, first, worker.StatusFailed, failed(1, refused(404, 1300)))
		appended := s.now
		second := s.cancel(umid(80))
		s.run.Requests[second].Timestamp = appended.Add(after)
		s.now = appended.Add(5 * time.Second)
		s.log(b, "debug", saysOutcome, map[string]any{"offset": first, "status": "failed"})
		s.now = appended.Add(8 * time.Second)
		s.settle(b, second, worker.StatusDuplicate, copyOf(s, first))
		s.expect(rules...)
	}
}

func TestCallsAreNeededInOrderAndByTheOwner(t *testing.T) {
	expectEach(t, []breakage{
		{"outcomes of a message change places", func(s *scene) {
			x, y := s.outcome(missing), s.outcome(waiting)
			*x, *y = *y, *x
			x.Offset, y.Offset = y.Offset, x.Offset
		}, []Rule{OutOfOrder, WrongDuplicate}},
		{"a call during that for an earlier request", func(s *scene) {
			k := s.callOf(forced, 0)
			k.StartedAt = s.callOf(plain, 0).StartedAt
			s.edit(a.instance, `"offset":10,"open"`, `"offset":99,"open"`)
		}, []Rule{Overlap}},
		{"a call while that for an earlier request has no outcome", func(s *scene) {
			again := s.cancel(umid(12))
			s.call(a, again, refused(404, 1300))
			s.callOf(again, 0).StartedAt = s.callOf(died, 0).EndedAt
			s.edit(a.instance, `"offset":16,"open"`, `"offset":99,"open"`)
			s.settle(b, again, worker.StatusDuplicate, copyOf(s, died))
		}, []Rule{Overlap}},
		{"a call for what is answered", func(s *scene) { s.rewrite(forced, `{"umid":%q}`, umid(0)) }, []Rule{NeedlessCall}},
		{"a call for what an earlier owner settled", func(s *scene) { s.call(b, plain, counted(0)) }, []Rule{NeedlessCall}},
		{"a call for what its owner settled", func(s *scene) {
			s.pass(5*time.Second).call(b, capped, refused(403, 1201))
			s.change(capped, func(o *worker.Outcome) { o.Attempts = 2 })
		}, []Rule{NeedlessCall}},
		{"a call after the deadline", func(s *scene) {
			s.rewrite(capped, `{"umid":%q,"scheduledAt":%q}`, umid(14), began.Format(time.RFC3339))
		}, []Rule{LateCall}},
		{"a call that nobody asked for", func(s *scene) {
			s.run.Calls[0].ID = umid(78)
			s.edit(a.instance, `"offset":0,"open":false`, `"offset":99,"open":false`)
			s.change(plain, func(o *worker.Outcome) { o.Attempts = 0 })
		}, []Rule{ForeignCall, Contradiction}},
		{"a call by the owner that was", func(s *scene) { s.call(a, untried, refused(404, 1300)) }, []Rule{LateCall, ZombieCall}},
		{"a call by a process that never owned it", func(s *scene) { s.call(owner{"host-c", 7}, untried, refused(404, 1300)) }, []Rule{LateCall, Unowned}},
		{"a call before its lease", func(s *scene) { s.run.Commits[0].At = s.callOf(plain, 0).EndedAt }, []Rule{Unleased}},
		{"a call before the lease that covers it", func(s *scene) { s.recommit(0, `"lease":1000`, `"lease":9`) }, []Rule{Unleased}},
		{"a call without a lease", func(s *scene) {
			c := owner{"host-c", 2}
			s.take(c, untried+1, leased, lastCommit)
			again := s.cancel(umid(16))
			s.call(c, again, refused(404, 1300))
			s.settle(c, again, worker.StatusFailed, failed(1, refused(404, 1300)))
		}, []Rule{Unleased}},
	})
}
