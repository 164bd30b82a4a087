package integration

import (
	"strings"
	"testing"
	"time"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
	"smscancel/worker"
)

// faultCase is a message that the API treats badly, and what its outcome must say.
type faultCase struct {
	name      string
	answers   []simulator.Answer
	status    worker.Status
	count     int // -1 = none
	kind      worker.Kind
	http      int
	ambiguous bool
	attempts  int // at least; exact where no time-out is in play
}

// always answers every call of a message.
func always(a simulator.Answer) []simulator.Answer {
	a.Repeat = 100
	return []simulator.Answer{a}
}

func once(a simulator.Answer) []simulator.Answer { return []simulator.Answer{a} }

// maxAttempts is --retry-max-attempts of the test.
const maxAttempts = 3

// mended is a fault that a repetition heals: nothing was cancelled before.
func mended(name string, a simulator.Answer) faultCase {
	return faultCase{name: name, answers: once(a), status: worker.StatusCancelled, count: 1, attempts: 2}
}

// doubtful is a fault under which the message was cancelled: the repetition
// finds nothing left to cancel, and only ambiguous tells why.
func doubtful(name string, a simulator.Answer) faultCase {
	return faultCase{name: name, answers: once(a), status: worker.StatusNotCancelled, count: 0, ambiguous: true, attempts: 2}
}

// lasting is a fault that never ends.
func lasting(name string, a simulator.Answer, kind worker.Kind, http int, ambiguous bool) faultCase {
	return faultCase{name: name, answers: always(a), status: worker.StatusFailed, count: -1, kind: kind, http: http,
		ambiguous: ambiguous, attempts: maxAttempts}
}

func faultCases() []faultCase {
	return []faultCase{
		mended("hang, nothing done", simulator.Answer{Hang: simulator.Before}),
		doubtful("hang, message cancelled", simulator.Answer{Hang: simulator.After}),
		mended("reset, nothing done", simulator.Answer{Reset: simulator.Before}),
		doubtful("reset, message cancelled", simulator.Answer{Reset: simulator.After}),
		lasting("reset always", simulator.Answer{Reset: simulator.Before}, worker.KindNetwork, 0, true),
		doubtful("truncated", simulator.Answer{Truncated: true}),
		mended("proxy's 502", simulator.Answer{HTML: true}),
		doubtful("proxy's 502, message cancelled", simulator.Answer{HTML: true, Effect: true}),
		lasting("proxy's 502 always", simulator.Answer{HTML: true}, worker.KindServerError, 502, true),
		lasting("proxy's 404 always", simulator.Answer{HTML: true, Status: 404}, worker.KindBadResponse, 404, false),
		lasting("proxy's 200 always", simulator.Answer{HTML: true, Status: 200}, worker.KindBadResponse, 200, true),
		lasting("no count always", simulator.Answer{NoCount: true}, worker.KindBadResponse, 200, true),
		lasting("huge always", simulator.Answer{Huge: true}, worker.KindBadResponse, 200, true),
		lasting("redirect always", simulator.Answer{Redirect: true}, worker.KindBadResponse, 302, false),
		mended("503", simulator.Answer{Status: 503}),
		lasting("503 always", simulator.Answer{Status: 503}, worker.KindServerError, 503, false),
		lasting("501 always", simulator.Answer{Status: 501}, worker.KindServerError, 501, false),
		mended("500", simulator.Answer{Status: 500}),
		lasting("500 always", simulator.Answer{Status: 500}, worker.KindServerError, 500, true),
		mended("429 with seconds", simulator.Answer{Status: 429, RetryAfter: "1"}),
		mended("429 with a date", simulator.Answer{Status: 429, RetryAfter: "date+1s"}),
		mended("503 with seconds", simulator.Answer{Status: 503, RetryAfter: "1"}),
	}
}

// Fault: over HTTPS the API hangs, resets, answers in part or not as itself,
// and asks to wait. Promise: the outcome says what really happened, ambiguous
// exactly where the message may have been cancelled unseen.
func TestTheAPIsErrorsReachTheOutcome(t *testing.T) {
	kafkatest.Require(t)
	cases := faultCases()
	scenario := &simulator.Scenario{Messages: map[string]simulator.MessageRule{}}
	for i, c := range cases {
		scenario.Messages[umid(i)] = simulator.MessageRule{Answers: c.answers}
	}
	w := newWorld(t, kafkatest.Shared(t), 3, simulator.Options{Scenario: scenario})
	flags := []string{"--attempt-timeout", "5s", "--retry-initial", "50ms", "--retry-max-interval", "200ms", "--retry-max-attempts", "3"}
	r := w.start("worker", flags...)
	w.waitRunning(r)
	requests := make([]map[string]any, len(cases))
	for i := range cases {
		requests[i] = map[string]any{"umid": umid(i), "subAccountId": subAccountOf(i)}
	}
	w.publish(requests...)
	w.waitForOutcomes(len(cases))
	r.stop()

	w.api.Close() // before the next worker can have a connection
	r = w.start("without-api", flags...)
	w.publish(map[string]any{"umid": umid(len(cases)), "subAccountId": "acme_shop"})
	w.waitForOutcomes(len(cases) + 1)
	r.stop()
	cases = append(cases, faultCase{name: "refused always", status: worker.StatusFailed, count: -1, kind: worker.KindNetwork, attempts: maxAttempts})

	byID := map[string]*worker.Outcome{}
	for _, f := range w.readOutcomes() {
		byID[f.outcome.UMID] = f.outcome
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.check(t, byID[umid(i)], w.sim.CallsOf(umid(i))) })
	}
	w.audit()
}

// subAccountOf gives every message a sub-account of its own: a Retry-After
// makes all others of the same one wait.
func subAccountOf(i int) string { return "acme_" + strings.Repeat("x", i+1) }

func (c faultCase) check(t *testing.T, o *worker.Outcome, calls []simulator.Call) {
	t.Helper()
	if o == nil {
		t.Fatal("no outcome")
	}
	if o.Status != c.status || o.Ambiguous != c.ambiguous {
		t.Errorf("%s, ambiguous %t; want %s, %t", o.Status, o.Ambiguous, c.status, c.ambiguous)
	}
	if count := countOf(o); count != c.count {
		t.Errorf("cancelledCount %d, want %d", count, c.count)
	}
	if kind, http := errorOf(o); kind != c.kind || http != c.http {
		t.Errorf("error %q with HTTP %d, want %q with %d: %+v", kind, http, c.kind, c.http, o.Error)
	}
	c.checkAttempts(t, o, calls)
}

func (c faultCase) checkAttempts(t *testing.T, o *worker.Outcome, calls []simulator.Call) {
	t.Helper()
	if o.Attempts < c.attempts || len(calls) > 0 && o.Attempts != len(calls) {
		t.Errorf("%d attempts, the API saw %d calls, want %d", o.Attempts, len(calls), c.attempts)
	}
	if len(c.answers) == 0 || c.answers[0].RetryAfter == "" || len(calls) < 2 {
		return
	}
	if pause := calls[1].StartedAt.Sub(calls[0].StartedAt); pause < time.Second {
		t.Errorf("called again after %s, the API asked for 1 s", pause)
	}
}

func countOf(o *worker.Outcome) int {
	if o.CancelledCount == nil {
		return -1
	}
	return *o.CancelledCount
}

func errorOf(o *worker.Outcome) (worker.Kind, int) {
	if o.Error == nil {
		return "", 0
	}
	return o.Error.Kind, o.Error.HTTPStatus
}
