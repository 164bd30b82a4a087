package checker

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"smscancel/integration/simulator"
	"smscancel/worker"
)

// The owners of the valid run: b takes over when a has died.
var a, b = owner{"host-a", 0}, owner{"host-b", 1}

// The requests of the valid run, by what becomes of them.
const (
	plain       = iota // cancelled
	repeated           // a duplicate of plain
	doubtful           // 500, then 200 with 0: ambiguous
	missing            // 404
	waiting            // a duplicate of missing
	late5              // expired
	broken             // rejected
	malformed          // 400
	malformed2         // a duplicate of malformed
	batch              // a batch of 7
	forced             // calls again for plain's message
	afterForced        // a duplicate of forced
	died               // called by a, which died; b gets 200 with 0
	leased             // in a's lease, 404 to b
	capped             // behind the cap of the inherited lease, 403
	untried            // the API is not reached before its deadline
)

func umid(n int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", n) }

func count(n int) func(*worker.Outcome) {
	return func(o *worker.Outcome) { o.CancelledCount = &n }
}

func copyOf(s *scene, offset int64) func(*worker.Outcome) {
	return func(o *worker.Outcome) {
		from := s.of[offset]
		o.DuplicateOf, o.CancelledCount, o.Error, o.Ambiguous = from.OutcomeID, from.CancelledCount, from.Error, from.Ambiguous
	}
}

func failed(attempts int, answer simulator.Call) func(*worker.Outcome) {
	return func(o *worker.Outcome) { o.Attempts, o.Error = attempts, errorFrom(answer) }
}

// validRun has every kind of outcome, a crash with calls in hand, and a
// takeover by the lease that was left.
func validRun(t *testing.T) *scene {
	s := newScene(t)
	s.take(a, 0, -1, map[string]any{"offset": -1})
	s.commit(a, 0, 1000)
	s.cancel(umid(0))
	s.cancel(umid(0))
	s.cancel(umid(2))
	s.cancel(umid(3))
	s.cancel(umid(3))
	s.request(umid(5), `{"umid":%q,"scheduledAt":%q}`, umid(5), s.now.Format(time.RFC3339))
	s.request(umid(6), `{"umid":`)
	s.cancel("no-uuid")
	s.cancel("no-uuid")
	s.request(umid(9), `{"batchId":%q,"campaignId":"spring","metadata":{"order":"A-1"}}`, umid(9))
	s.request(umid(0), `{"umid":%q,"force":true}`, umid(0))
	s.cancel(umid(0))
	s.cancel(umid(12))
	s.cancel(umid(13))

	s.call(a, plain, counted(1))
	s.settle(a, plain, worker.StatusCancelled, count(1))
	s.settle(a, repeated, worker.StatusDuplicate, copyOf(s, plain))
	s.call(a, doubtful, simulator.Call{Status: 500, Code: 2000, Effect: 1})
	s.call(a, doubtful, counted(0))
	s.settle(a, doubtful, worker.StatusNotCancelled, func(o *worker.Outcome) { count(0)(o); o.Attempts, o.Ambiguous = 2, true })
	s.call(a, missing, refused(404, 1300))
	s.settle(a, missing, worker.StatusFailed, failed(1, refused(404, 1300)))
	s.settle(a, waiting, worker.StatusDuplicate, copyOf(s, missing))
	s.settle(a, late5, worker.StatusExpired, func(*worker.Outcome) {})
	s.settle(a, broken, worker.StatusRejected, func(*worker.Outcome) {})
	s.call(a, malformed, refused(400, 1000))
	s.settle(a, malformed, worker.StatusFailed, failed(1, refused(400, 1000)))
	s.settle(a, malformed2, worker.StatusDuplicate, copyOf(s, malformed))
	s.call(a, batch, counted(7))
	s.settle(a, batch, worker.StatusCancelled, count(7))
	s.call(a, forced, counted(0))
	s.settle(a, forced, worker.StatusNotCancelled, count(0))
	s.settle(a, afterForced, worker.StatusDuplicate, copyOf(s, forced))
	s.commit(a, died, 1012)
	s.call(a, died, counted(1), true)

	s.pass(15 * time.Second)
	s.take(b, died, 1012, map[string]any{"offset": died, "producerId": pid, "epoch": 0, "lease": 1012})
	s.commit(b, died, 1012)
	s.call(b, died, counted(0))
	s.settle(b, died, worker.StatusNotCancelled, func(o *worker.Outcome) { count(0)(o); o.Ambiguous = true })
	s.call(b, leased, refused(404, 1300))
	s.settle(b, leased, worker.StatusFailed, func(o *worker.Outcome) { failed(1, refused(404, 1300))(o); o.Ambiguous = true })
	s.pass(11 * time.Second)
	s.log(b, "debug", saysCapped, map[string]any{"lease": leased, "cappedAt": s.now.Format(worker.TimeFormat)})
	s.cancel(umid(14))
	s.request(umid(15), `{"umid":%q,"scheduledAt":%q}`, umid(15), s.now.Add(time.Second).Format(time.RFC3339))
	s.commit(b, capped, 1014)
	s.call(b, capped, refused(403, 1201))
	s.settle(b, capped, worker.StatusFailed, failed(1, refused(403, 1201)))
	s.log(b, "debug", saysAttempt, map[string]any{"offset": untried, "startedAt": s.now.Format(worker.TimeFormat), "took": 1, "httpStatus": 0, "kind": "network"})
	s.pass(2*time.Second).settle(b, untried, worker.StatusExpired, func(o *worker.Outcome) {
		o.Attempts, o.Error = 1, &worker.Error{Kind: worker.KindNetwork, Message: "connection refused"}
	})
	s.commit(b, untried+1, leased)
	return s
}

func TestAValidRunBreaksNoRule(t *testing.T) { validRun(t).expect() }

// breakage breaks one thing in the valid run.
type breakage struct {
	name   string
	breaks func(*scene)
	rules  []Rule // that must notice, each once, and no other
}

// lastCommit is what an owner after b finds.
var lastCommit = map[string]any{"offset": untried + 1, "producerId": pid, "epoch": b.epoch, "lease": leased}

func expectEach(t *testing.T, all []breakage) {
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			s := validRun(t)
			c.breaks(s)
			s.expect(c.rules...)
		})
	}
}

func TestEveryRequestNeedsOneOutcomeAndEveryOutcomeARequest(t *testing.T) {
	expectEach(t, []breakage{
		{"gone", func(s *scene) {
			i := s.at[untried]
			s.run.Outcomes = append(s.run.Outcomes[:i:i], s.run.Outcomes[i+1:]...)
		}, []Rule{Lost}},
		{"there twice", func(s *scene) {
			rec := *s.outcome(capped)
			rec.Offset, rec.Timestamp = s.next, s.now
			s.run.Outcomes = append(s.run.Outcomes, rec)
		}, []Rule{Second}},
		{"of a request that was never visible", func(s *scene) {
			rec := s.outcome(untried)
			rec.Value = []byte(strings.Replace(string(rec.Value), `"offset":15`, `"offset":99`, 1))
		}, []Rule{Foreign, Lost}},
		{"no outcome at all", func(s *scene) {
			s.run.Outcomes = append(s.run.Outcomes, Record{Topic: outcomes, Partition: 1, Offset: s.next, Value: []byte("text"), ProducerID: pid, ProducerEpoch: 1})
		}, []Rule{Foreign}},
		{"moved behind those of the next owner", func(s *scene) {
			all, i := s.run.Outcomes, s.at[afterForced]
			all[i], all[i+1] = all[i+1], all[i]
			all[i].Offset, all[i+1].Offset = all[i+1].Offset, all[i].Offset
		}, []Rule{StaleWriter}},
		{"by an owner that nobody knows", func(s *scene) {
			s.settle(owner{"host-c", 7}, s.request("x", "{"), worker.StatusRejected, func(*worker.Outcome) {})
		}, []Rule{Unowned}},
		{"by a producer without a fence", func(s *scene) { s.outcome(broken).ProducerID = -1 }, []Rule{Unowned}},
	})
}

func TestRequestsBelowTheLogsStartMayBeLost(t *testing.T) {
	s := validRun(t)
	i := s.at[untried]
	s.run.Outcomes = append(s.run.Outcomes[:i:i], s.run.Outcomes[i+1:]...)
	s.run.Setup.LostBelow = map[string]map[int]int64{requests: {1: untried + 1}}
	s.expect()
}

func TestAnOutcomeSaysWhatTheAPIAnswered(t *testing.T) {
	expectEach(t, []breakage{
		{"another count", func(s *scene) { s.change(batch, count(6)) }, []Rule{Contradiction}},
		{"cancelled, and the API counted 0", func(s *scene) {
			s.change(forced, func(o *worker.Outcome) { o.Status = worker.StatusCancelled; count(1)(o) })
			s.change(afterForced, copyOf(s, forced))
		}, []Rule{Contradiction}},
		{"another code", func(s *scene) { s.callOf(capped, 0).Code = 1202 }, []Rule{Contradiction}},
		{"another errorId", func(s *scene) { s.callOf(capped, 0).ErrorID = "other" }, []Rule{Contradiction}},
		{"another HTTP status", func(s *scene) { s.callOf(capped, 0).Status = 409 }, []Rule{Contradiction}},
		{"another kind", func(s *scene) { s.change(capped, func(o *worker.Outcome) { o.Error.Kind = worker.KindNetwork }) }, []Rule{Contradiction}},
		{"failed, and the API counted", func(s *scene) {
			k, n := s.callOf(capped, 0), 1
			k.Status, k.Code, k.ErrorID, k.Count = 200, 0, "", &n
		}, []Rule{Contradiction}},
		{"rejected after a call", func(s *scene) { s.change(broken, func(o *worker.Outcome) { o.Attempts = 1 }) }, []Rule{Contradiction}},
		{"an attempt too many", func(s *scene) { s.change(capped, func(o *worker.Outcome) { o.Attempts++ }) }, []Rule{WrongAttempts}},
		{"an attempt too few", func(s *scene) { s.change(doubtful, func(o *worker.Outcome) { o.Attempts-- }) }, []Rule{WrongAttempts}},
		{"an attempt that the API did not see", func(s *scene) { s.edit(b.instance, `"httpStatus":0`, `"httpStatus":503`) }, []Rule{WrongAttempts}},
		{"a valid request is rejected", func(s *scene) { s.rewrite(broken, `{"umid":"x"}`) }, []Rule{WrongRejection}},
		{"an invalid request is called", func(s *scene) { s.rewrite(late5, `{`) }, []Rule{WrongRejection}},
		{"expired before its deadline", func(s *scene) {
			s.rewrite(untried, `{"umid":%q,"scheduledAt":%q}`, umid(15), began.Add(time.Hour).Format(time.RFC3339))
		}, []Rule{EarlyExpiry}},
		{"expired without a deadline", func(s *scene) { s.rewrite(untried, `{"umid":%q}`, umid(15)) }, []Rule{EarlyExpiry}},
	})
}

func TestAnOutcomeIsAmbiguousExactlyIfACallMayHaveTakenEffectUnseen(t *testing.T) {
	certain := func(o *worker.Outcome) { o.Ambiguous = false }
	ambiguous := func(o *worker.Outcome) { o.Ambiguous = true }
	expectEach(t, []breakage{
		{"cancelled and not reported", func(s *scene) { s.change(doubtful, certain) }, []Rule{Unreported}},
		{"an incomplete answer", func(s *scene) { s.callOf(capped, 0).Fault = "truncated-403" }, []Rule{AmbiguousMissing}},
		{"an answer that came too late", func(s *scene) {
			s.edit(b.instance, `"httpStatus":403,"instance":"host-b","kind":"forbidden"`, `"httpStatus":0,"instance":"host-b","kind":"timeout"`)
			s.edit(b.instance, `"offset":14,"open":false`, `"offset":14,"open":true`)
			s.edit(b.instance, `12:00:26.120Z","time":"2026-03-01T12:00:26.123Z","took":3`, `12:00:26.120Z","time":"2026-03-01T12:00:26.123Z","took":9999`)
			s.change(capped, func(o *worker.Outcome) { o.Error = &worker.Error{Kind: worker.KindTimeout, Message: "no answer"} })
		}, []Rule{AmbiguousMissing}},
		{"a call that its owner takes for unsent", func(s *scene) {
			k := s.callOf(capped, 0)
			k.Status, k.Code, k.ErrorID, k.Fault = 0, 0, "", "hang-before"
			s.edit(b.instance, `"httpStatus":403,"instance":"host-b","kind":"forbidden"`, `"httpStatus":0,"instance":"host-b","kind":"timeout"`)
			s.change(capped, func(o *worker.Outcome) { o.Error = &worker.Error{Kind: worker.KindTimeout, Message: "no answer"} })
		}, []Rule{AmbiguousMissing}},
		{"called by the owner before", func(s *scene) { s.callOf(died, 0).Effect = 0; s.change(died, certain) }, []Rule{AmbiguousMissing}},
		{"within the inherited lease", func(s *scene) { s.change(leased, certain) }, []Rule{AmbiguousMissing}},
		{"no reason", func(s *scene) { s.change(capped, ambiguous) }, []Rule{AmbiguousFalse}},
		{"cancelled and ambiguous", func(s *scene) { s.change(plain, ambiguous); s.change(repeated, copyOf(s, plain)) }, []Rule{AmbiguousFalse}},
		{"rejected and ambiguous", func(s *scene) { s.change(broken, ambiguous) }, []Rule{Contradiction}},
	})
}

func TestTheErrorOfARedirectIsNotTheAPIs(t *testing.T) {
	s := validRun(t)
	s.callOf(capped, 0).Status = 302
	s.edit(b.instance, `"httpStatus":403,"instance":"host-b","kind":"forbidden"`, `"httpStatus":302,"instance":"host-b","kind":"bad_response"`)
	s.change(capped, func(o *worker.Outcome) {
		o.Error = &worker.Error{HTTPStatus: 302, Kind: worker.KindBadResponse, Message: "HTTP 302 Found is not an answer of this API"}
	})
	s.expect()
}

func TestARequestWaitsForA404UntilThatIsWritten(t *testing.T) {
	s := validRun(t)
	first := s.cancel(umid(83))
	s.call(b, first, refused(404, 1300))
	decided := s.now.Format(worker.TimeFormat)
	s.pass(time.Minute)
	second := s.cancel(umid(83))
	s.settle(b, first, worker.StatusFailed, func(o *worker.Outcome) { failed(1, refused(404, 1300))(o); o.CompletedAt = decided })
	s.settle(b, second, worker.StatusDuplicate, copyOf(s, first))
	s.expect()
}

func TestTheDedupeWindowCountsFromDecidedOrFromWritten(t *testing.T) {
	s := validRun(t)
	s.run.Setup.Window = time.Hour
	r := s.cancel(umid(82))
	s.call(b, r, counted(1))
	decided := s.now.Format(worker.TimeFormat)
	s.pass(2*time.Hour).settle(b, r, worker.StatusCancelled, func(o *worker.Outcome) { count(1)(o); o.CompletedAt = decided })
	s.pass(time.Minute)
	for _, answered := range []func(int64){
		func(again int64) {
			s.call(b, again, counted(0))
			s.settle(b, again, worker.StatusNotCancelled, count(0))
		},
		func(again int64) { s.settle(b, again, worker.StatusDuplicate, copyOf(s, r)) },
	} {
		before := *s.run
		answered(s.cancel(umid(82)))
		s.expect()
		*s.run = before
	}
}

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

func TestADuplicateIsTheCopyOfTheNewestAnswer(t *testing.T) {
	expectEach(t, []breakage{
		{"of nothing", func(s *scene) { s.change(repeated, func(o *worker.Outcome) { o.DuplicateOf = umid(77) }) }, []Rule{WrongDuplicate}},
		{"of what was replaced", func(s *scene) { s.change(afterForced, copyOf(s, plain)) }, []Rule{WrongDuplicate}},
		{"another count", func(s *scene) { s.change(repeated, count(0)) }, []Rule{WrongDuplicate}},
		{"another error", func(s *scene) {
			s.change(malformed2, func(o *worker.Outcome) { e := *o.Error; e.ErrorID = "other"; o.Error = &e })
		}, []Rule{WrongDuplicate}},
		{"ambiguous unlike it", func(s *scene) { s.change(repeated, func(o *worker.Outcome) { o.Ambiguous = true }) }, []Rule{WrongDuplicate}},
		{"outside the window", func(s *scene) {
			s.run.Setup.Window = time.Millisecond
			s.change(afterForced, func(o *worker.Outcome) { o.CompletedAt = s.now.Format(worker.TimeFormat) })
		}, []Rule{WrongDuplicate}},
		{"of a 404 that it did not wait for", func(s *scene) {
			s.settle(b, s.cancel(umid(3)), worker.StatusDuplicate, copyOf(s, missing))
		}, []Rule{WrongDuplicate}},
		{"after a call", func(s *scene) { s.change(repeated, func(o *worker.Outcome) { o.Attempts = 1 }) }, []Rule{WrongDuplicate}},
		{"of a forced request", func(s *scene) { s.rewrite(afterForced, `{"umid":%q,"force":true}`, umid(0)) }, []Rule{WrongDuplicate}},
	})
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
		}, []Rule{Overlap, WrongDuplicate}},
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

func TestWhatTheNextOwnerIsToldIsTrue(t *testing.T) {
	expectEach(t, []breakage{
		{"a commit before the outcome", func(s *scene) { s.outcome(untried).Timestamp = s.now.Add(time.Second) }, []Rule{CommitAhead}},
		{"a commit of a smaller offset", func(s *scene) { s.commit(b, capped, 1014) }, []Rule{CommitBack}},
		{"a commit by the owner that was", func(s *scene) { s.commit(a, untried+1, 1014) }, []Rule{CommitBack}},
		{"a lease that is not the commit's", func(s *scene) { s.edit(b.instance, `"lease":1012,"level":"info"`, `"lease":1011,"level":"info"`) }, []Rule{WrongLease}},
		{"an old commit", func(s *scene) {
			s.edit(b.instance, `"lease":1012,"level":"info"`, `"lease":1000,"level":"info"`)
			s.edit(b.instance, `"lease":1012,"offset":12`, `"lease":1000,"offset":12`)
		}, []Rule{WrongLease}},
		{"another owner in between", func(s *scene) {
			c := owner{"host-c", 3}
			s.log(c, "debug", "something", nil) // or it may have done more than it tells
			s.take(c, untried+1, leased, lastCommit)
		}, []Rule{WrongLease}},
		{"another owner in between, and it says so", func(s *scene) {
			s.take(owner{"host-c", 3}, untried+1, unknownLease, lastCommit)
		}, nil},
		{"only itself in between, and it did nothing", func(s *scene) {
			c := owner{"host-c", 3}
			s.log(c, "debug", saysGivenUp, map[string]any{"producerId": pid, "epoch": 2})
			s.take(c, untried+1, leased, lastCommit)
		}, nil},
		{"a lease that is capped too early", func(s *scene) { s.run.Setup.SessionTimeout = 20 * time.Second }, []Rule{WrongLease}},
		{"a commit that drops the inherited lease", func(s *scene) { s.recommit(2, `"lease":1012`, `"lease":1000`) }, []Rule{LeaseShort}},
		{"a commit whose lease leaves a call out", func(s *scene) {
			short := s.run.Commits[0]
			short.At = s.callOf(doubtful, 0).EndedAt
			short.Metadata = strings.Replace(short.Metadata, `"lease":1000`, `"lease":1`, 1)
			s.run.Commits = append([]Commit{s.run.Commits[0], short}, s.run.Commits[1:]...)
		}, []Rule{LeaseShort}},
		{"a commit without metadata", func(s *scene) {
			s.commit(b, untried+1, leased)
			s.run.Commits[len(s.run.Commits)-1].Metadata = ""
		}, []Rule{BadMetadata}},
		{"the metadata of another offset", func(s *scene) { s.recommit(4, `"offset":16,"pid"`, `"offset":15,"pid"`) }, []Rule{BadMetadata}},
		{"the metadata of another ledger", func(s *scene) { s.recommit(4, `"n":2`, `"n":3`) }, []Rule{BadMetadata}},
		{"the fingerprint of another record", func(s *scene) { s.recommit(4, `"last":{"offset":15`, `"last":{"offset":14`) }, []Rule{BadMetadata}},
	})
}

func TestAnOutcomeHasTheFormThatIsPublished(t *testing.T) {
	expectEach(t, []breakage{
		{"another partition", func(s *scene) { s.outcome(capped).Partition = 0 }, []Rule{WrongPartition}},
		{"another key", func(s *scene) { s.outcome(capped).Key = []byte("x") }, []Rule{WrongKey}},
		{"a rejected record's key", func(s *scene) { s.outcome(broken).Key = nil }, []Rule{WrongKey}},
		{"another id", func(s *scene) { s.change(capped, func(o *worker.Outcome) { o.OutcomeID = umid(79) }) }, []Rule{WrongID}},
		{"another requestId", func(s *scene) { s.change(capped, func(o *worker.Outcome) { o.RequestID = "x" }) }, []Rule{WrongEcho}},
		{"another campaign", func(s *scene) { s.change(batch, func(o *worker.Outcome) { o.CampaignID = "" }) }, []Rule{WrongEcho}},
		{"no metadata", func(s *scene) { s.change(batch, func(o *worker.Outcome) { o.Metadata = nil }) }, []Rule{WrongEcho}},
		{"another trace", func(s *scene) { s.change(capped, func(o *worker.Outcome) { o.TraceParent = traceFor(99) }) }, []Rule{WrongEcho}},
		{"another timestamp", func(s *scene) {
			s.change(capped, func(o *worker.Outcome) { o.Source.Timestamp = began.Format(worker.TimeFormat) })
		}, []Rule{WrongEcho}},
		{"the rejected value is lost", func(s *scene) { s.change(broken, func(o *worker.Outcome) { o.Source.Value = nil }) }, []Rule{WrongEcho}},
		{"another header for a replay", func(s *scene) {
			all := s.outcome(capped).Headers
			all[len(all)-1].Value = []byte("1 2")
		}, []Rule{WrongHeader}},
	})
}

func TestTheKeyStandsNowhere(t *testing.T) {
	expectEach(t, []breakage{
		{"in a log", func(s *scene) { s.logs[a.instance].WriteString("panic: " + canary + "\n") }, []Rule{Secret}},
		{"in an error, in base64", func(s *scene) {
			s.change(capped, func(o *worker.Outcome) { o.Error.Message = base64.StdEncoding.EncodeToString([]byte("x: " + canary)) })
		}, []Rule{Secret}},
		{"in a header", func(s *scene) {
			s.outcome(plain).Headers = append(s.outcome(plain).Headers, Header{"x", []byte(canary)})
		}, []Rule{Secret}},
		{"in a commit", func(s *scene) { s.recommit(4, `"ledger"`, `"note":"`+canary+`","ledger"`) }, []Rule{Secret}},
		{"in a metric, percent-encoded", func(s *scene) {
			s.run.Outputs = []Output{{"metrics", []byte("key=%63%61%6e%61%72%79%2d%34%66%31%64%2d%6b%65%79")}}
		}, []Rule{Secret}},
	})
}

func TestACommitThatWasTakenBackIsNotMissed(t *testing.T) {
	s := validRun(t)
	s.run.Commits = append(s.run.Commits, Commit{Topic: requests, Partition: 1, Offset: -1, At: s.pass(time.Second).now})
	s.pass(15 * time.Second)
	s.take(owner{"host-c", 2}, 0, unknownLease, map[string]any{"offset": -1})
	s.commit(owner{"host-c", 2}, 0, unknownLease)
	s.expect()
}

// Somebody else may have called, whose commits are another group's.
func TestAnOwnerBehindAForeignFenceInheritsAnUnknownLease(t *testing.T) {
	for lease, rules := range map[int64][]Rule{-1: {WrongLease}, unknownLease: nil} {
		s := newScene(t)
		late := owner{"host-a", 1}
		s.take(late, 0, lease, map[string]any{"offset": -1})
		s.commit(late, 0, lease)
		s.expect(rules...)
	}
}

// The commits of a topic that was deleted say nothing of its successor's requests.
func TestCommitsOfADeletedTopicAreNotAheadOfItsSuccessors(t *testing.T) {
	s := newScene(t)
	s.take(a, 0, -1, map[string]any{"offset": -1})
	s.commit(a, 0, 1000)
	past := s.run.Commits[0] // a request of an aborted transaction
	past.Offset, past.Metadata = 1, strings.Replace(past.Metadata, `"offset":0`, `"offset":1`, 1)
	s.run.Commits = append(s.run.Commits, past)
	s.run.Commits = append(s.run.Commits, Commit{Topic: requests, Partition: 1, Offset: -1, At: s.pass(time.Second).now})
	heir := owner{"host-b", 1}
	s.take(heir, 0, unknownLease, map[string]any{"offset": -1})
	s.commit(heir, 0, unknownLease)
	r := s.cancel(umid(2))
	s.call(heir, r, counted(1))
	s.settle(heir, r, worker.StatusCancelled, count(1))
	s.commit(heir, r+1, unknownLease)
	s.expect()
}
