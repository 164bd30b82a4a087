package checker

import (
	"testing"
	"time"

	"smscancel/integration/simulator"
	"smscancel/worker"
)

// While the key of a sub-account is refused, requests fail with what the API said
// to the call for another one. Nothing else is accepted without a call.
func TestBehindAHoldARequestFailsWithAnothersRefusal(t *testing.T) {
	refusal := refused(401, 1200)
	for _, c := range []struct {
		name  string
		value string // of the request that is not called
		error func(*worker.Error)
		rules []Rule
	}{
		{"as it was", `{"umid":%q}`, func(*worker.Error) {}, nil},
		{"that nobody gave", `{"umid":%q}`, func(e *worker.Error) { e.ErrorID = "another" }, []Rule{Contradiction}},
		{"with another code", `{"umid":%q}`, func(e *worker.Error) { code := 1001; e.Code = &code }, []Rule{Contradiction}},
		{"of another sub-account", `{"umid":%q,"subAccountId":"other"}`, func(*worker.Error) {}, []Rule{Contradiction}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := validRun(t)
			s.commit(b, untried+1, 2000)
			called := s.cancel(umid(20))
			held := s.request(umid(21), c.value, umid(21))
			s.call(b, called, refusal)
			s.settle(b, called, worker.StatusFailed, failed(1, refusal))
			s.settle(b, held, worker.StatusFailed, func(o *worker.Outcome) {
				failed(0, refusal)(o)
				c.error(o.Error)
			})
			s.expect(c.rules...)
		})
	}
}

// While a key is refused single probes go out, a quarter of a second apart at least:
// not the calls that waited.
func TestBesideTheProbesNoCallGoesOutWhileTheKeyIsRefused(t *testing.T) {
	refusal := refused(401, 1200)
	expectEach(t, []breakage{
		{"a probe", func(s *scene) { refuse(s, refusal, 300*time.Millisecond, 500*time.Millisecond) }, nil},
		{"a call and a probe at once", func(s *scene) { refuse(s, refusal, 20*time.Millisecond, 300*time.Millisecond) }, nil},
		{"two calls at once", func(s *scene) { refuse(s, refusal, 20*time.Millisecond, 20*time.Millisecond) }, []Rule{Hammered}},
		{"two calls at once, of old TLS", func(s *scene) { refuse(s, refused(426, 1014), 20*time.Millisecond, 20*time.Millisecond) }, []Rule{Hammered}},
		{"two calls at once, of a foreign sub-account", func(s *scene) { refuse(s, refused(401, 1001), 20*time.Millisecond, 20*time.Millisecond) }, nil},
	})
}

// refuse makes a call that is refused, and others each so long after the one before.
func refuse(s *scene, refusal simulator.Call, after ...time.Duration) {
	s.commit(b, untried+1, 2000)
	for i, pause := range append([]time.Duration{0}, after...) {
		r := s.cancel(umid(40 + i))
		s.pass(pause).call(b, r, refusal)
		s.settle(b, r, worker.StatusFailed, failed(1, refusal))
	}
}
