package checker

import (
	"testing"
	"time"

	"smscancel/integration/simulator"
	"smscancel/worker"
)

// heldScene adds four requests of a campaign that is withdrawn after the first was
// called and the second was settled: they end withdrawn, the last one before the
// first, which it need not wait for.
func heldScene(t *testing.T) (s *scene, called, fresh, again int64) {
	s = validRun(t)
	request := func(id string) int64 { return s.request(id, `{"umid":%q,"campaignId":"wrong"}`, id) }
	called = request(umid(90))
	s.call(b, called, simulator.Call{Status: 500, Code: 2000, Effect: 1})
	settled := request(umid(91))
	s.call(b, settled, counted(1))
	s.settle(b, settled, worker.StatusCancelled, count(1))
	fresh, again = request(umid(92)), request(umid(90))
	s.run.Setup.Held = []Held{{Campaign: "wrong", Withdrawn: true, From: s.now}}
	s.settle(b, again, worker.StatusFailed, withdrawn(0, false))
	s.settle(b, called, worker.StatusFailed, withdrawn(1, true))
	s.settle(b, fresh, worker.StatusFailed, withdrawn(0, false))
	return s, called, fresh, again
}

func withdrawn(attempts int, ambiguous bool) func(*worker.Outcome) {
	return func(o *worker.Outcome) {
		o.Attempts, o.Ambiguous, o.Error = attempts, ambiguous, &worker.Error{Kind: worker.KindWithdrawn, Message: "withdrawn"}
	}
}

func TestWhatIsHeldBackIsNotCalled(t *testing.T) {
	for _, c := range []struct {
		name   string
		breaks func(s *scene, called, fresh, again int64)
		rules  []Rule
	}{
		{"nothing", func(*scene, int64, int64, int64) {}, nil},
		{"a call 1.9 s later", func(s *scene, _, fresh, _ int64) {
			s.run.Setup.Held[0].From = s.now.Add(-1900 * time.Millisecond)
			s.callAnother(umid(93))
		}, nil},
		{"a call 2.1 s later", func(s *scene, _, fresh, _ int64) {
			s.pass(2100 * time.Millisecond).callAnother(umid(93))
		}, []Rule{HeldCall}},
		{"a call of another campaign", func(s *scene, _, _, _ int64) {
			s.run.Setup.Held = append(s.run.Setup.Held, Held{Campaign: "another", From: began}, Held{SubAccount: "another", From: began})
		}, nil},
		{"a call of a paused sub-account", func(s *scene, _, _, _ int64) {
			s.run.Setup.Held = append(s.run.Setup.Held, Held{SubAccount: "acme", From: s.now})
			s.pass(2100 * time.Millisecond).callAnother(umid(93))
		}, []Rule{HeldCall}},
		{"a call when the pause is over", func(s *scene, _, _, _ int64) {
			s.pass(time.Minute)
			s.run.Setup.Held = append(s.run.Setup.Held, Held{SubAccount: "acme", From: began.Add(time.Hour), Until: s.now})
			s.run.Setup.Held[0].Until = s.now
			s.callAnother(umid(93))
		}, nil},
		{"a call that its process did not live to log", func(s *scene, called, _, _ int64) {
			s.pass(2100 * time.Millisecond).callAnother(umid(93))
			s.edit(b.instance, `"offset":20,"open"`, `"offset":99,"open"`)
		}, []Rule{HeldCall}},
		{"withdrawn, and it was not", func(s *scene, _, fresh, _ int64) {
			s.rewrite(fresh, `{"umid":%q}`, umid(92))
		}, []Rule{WrongWithdrawal, WrongEcho}},
		{"withdrawn, and it was paused", func(s *scene, _, _, _ int64) { s.run.Setup.Held[0].Withdrawn = false }, []Rule{WrongWithdrawal, WrongWithdrawal, WrongWithdrawal}},
		{"withdrawn too early", func(s *scene, _, _, _ int64) {
			s.run.Setup.Held[0].From = s.now.Add(time.Minute)
		}, []Rule{WrongWithdrawal, WrongWithdrawal, WrongWithdrawal}},
		{"a call whose end is open is not told", func(s *scene, called, _, _ int64) {
			s.change(called, func(o *worker.Outcome) { o.Ambiguous = false })
		}, []Rule{Unreported}},
		{"no call, and ambiguous", func(s *scene, _, fresh, _ int64) {
			s.change(fresh, func(o *worker.Outcome) { o.Ambiguous = true })
		}, []Rule{AmbiguousFalse}},
		{"the API's status with it", func(s *scene, called, _, _ int64) {
			s.change(called, func(o *worker.Outcome) { o.Error.HTTPStatus = 500 })
		}, []Rule{Contradiction}},
		{"a call, and no attempt", func(s *scene, called, _, _ int64) {
			s.change(called, func(o *worker.Outcome) { o.Attempts = 0 })
		}, []Rule{WrongAttempts}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, called, fresh, again := heldScene(t)
			c.breaks(s, called, fresh, again)
			s.expect(c.rules...)
		})
	}
}

// callAnother requests and calls another message of the withdrawn campaign.
func (s *scene) callAnother(id string) {
	r := s.request(id, `{"umid":%q,"campaignId":"wrong"}`, id)
	s.call(b, r, counted(1))
	s.settle(b, r, worker.StatusCancelled, count(1))
}
