package checker

import (
	"testing"
	"time"

	"smscancel/worker"
)

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
			s.pass(time.Minute)
			s.settle(b, s.cancel(umid(0)), worker.StatusDuplicate, copyOf(s, forced))
		}, []Rule{WrongDuplicate}},
		{"in time when it came, though not when its answer was durable", func(s *scene) {
			s.run.Setup.Window = 10 * time.Second
			r := s.cancel(umid(9))
			s.call(b, r, counted(1))
			s.settle(b, r, worker.StatusCancelled, count(1))
			waiting := s.cancel(umid(9))
			s.pass(time.Minute)
			s.settle(b, waiting, worker.StatusDuplicate, copyOf(s, r))
		}, nil},
		{"of a 404 that it did not wait for", func(s *scene) {
			s.settle(b, s.cancel(umid(3)), worker.StatusDuplicate, copyOf(s, missing))
		}, []Rule{WrongDuplicate}},
		{"after a call", func(s *scene) { s.change(repeated, func(o *worker.Outcome) { o.Attempts = 1 }) }, []Rule{WrongDuplicate}},
		{"of a forced request", func(s *scene) { s.rewrite(afterForced, `{"umid":%q,"force":true}`, umid(0)) }, []Rule{WrongDuplicate}},
	})
}
