package simulator

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// scripted is a simulator that treats the first call for umid(1) as told.
func scripted(t *testing.T, answer string) *Simulator {
	t.Helper()
	return newSim(t, Options{Scenario: scenario(t, "messages:\n  "+umid(1)+":\n    answers: ["+answer+"]")})
}

func TestAnswersOfAScenarioReachTheClient(t *testing.T) {
	for _, c := range []struct {
		answer, fault string
		status        int
		body          string
		header        http.Header
		effect        int
	}{
		{answer: `{status: 503}`, fault: "503", status: 503, body: errorBody("503", "Service Unavailable", longTS)},
		{answer: `{status: 503, retryAfter: "2"}`, fault: "503", status: 503, body: ".*", header: http.Header{"Retry-After": {"2"}}},
		{answer: `{status: 429, retryAfter: soon}`, fault: "429", status: 429, body: ".*", header: http.Header{"Retry-After": {"soon"}}},
		{answer: `{status: 429}`, fault: "429", status: 429, body: ".*", header: http.Header{"Retry-After": {"1"}}},
		{answer: `{status: 426}`, fault: "426", status: 426, body: ".*", header: http.Header{"Upgrade": {"TLS/1.3"}}},
		{answer: `{status: 400, code: 1002, message: "a <b> & c"}`, fault: "400", status: 400, body: errorBody("1002", "a <b> & c", shortTS)},
		{answer: `{status: 502, effect: true}`, fault: "502-after", status: 502, body: ".*", effect: 1},
		{answer: `{html: true}`, fault: "html", status: 502, body: `(?s)<html>.*502 Bad Gateway.*`, header: http.Header{"Content-Type": {"text/html"}}},
		{answer: `{html: true, status: 200, effect: true}`, fault: "html-after", status: 200, body: `(?s)<html>.*`, effect: 1},
		{answer: `{empty: true}`, fault: "empty", status: 200, body: ""},
		{answer: `{redirect: true}`, fault: "redirect", status: 302, body: "", header: http.Header{"Location": {"/moved"}}},
		{answer: `{redirect: true, status: 307, header: {Location: "http://127.0.0.1:1/"}}`, fault: "redirect", status: 307, body: "", header: http.Header{"Location": {"http://127.0.0.1:1/"}}},
		{answer: `{noCount: true}`, fault: "no-count", status: 200, body: `\{\}`},
		{answer: `{noCount: true, effect: true}`, fault: "no-count-after", status: 200, body: `\{\}`, effect: 1},
		{answer: `{body: '{"cancelledCount":"1"}', contentType: text/plain}`, fault: "body", status: 200, body: `\{"cancelledCount":"1"\}`, header: http.Header{"Content-Type": {"text/plain"}}},
		{answer: `{body: ''}`, fault: "body", status: 200, body: ""},
		{answer: `{huge: true, effect: true}`, fault: "huge-after", status: 200, body: `\{"cancelledCount":1,"padding":"x{1000}.*`, effect: 1},
		{answer: `{status: 200}`, fault: "", status: 200, body: `\{"cancelledCount":1\}`, effect: 1},
		{answer: `{status: 202}`, fault: "", status: 202, body: `\{"cancelledCount":1\}`, effect: 1},
		{answer: `{status: 204}`, fault: "", status: 204, body: ``, effect: 1},
		{answer: `{delay: 1ms, header: {X-Cache: HIT}}`, fault: "", status: 200, body: `\{"cancelledCount":1\}`, header: http.Header{"X-Cache": {"HIT"}}, effect: 1},
		{answer: `{}`, fault: "", status: 200, body: `\{"cancelledCount":1\}`, effect: 1},
	} {
		t.Run(c.answer, func(t *testing.T) {
			s := scripted(t, c.answer)
			server := start(t, s, ServerOptions{})
			res, err := newClient(t).Do(newRequest(t, context.Background(), server.URL()+messagePath("acme", umid(1))))
			require.NoError(t, err)
			require.Regexp(t, "^"+c.body+"$", bodyOf(t, res))
			require.Equal(t, c.status, res.StatusCode)
			for name, values := range c.header {
				require.Equal(t, values, res.Header[name])
			}
			got := s.CallsOf(umid(1))[0]
			require.Equal(t, c.status, got.Status)
			require.Equal(t, c.fault, got.Fault)
			require.Equal(t, c.effect, got.Effect)
			require.Equal(t, c.effect == 1, s.Message(umid(1)).State == Cancelled)
		})
	}
}

func TestABodyTooLongIsMoreThan64KiBAndValidJSON(t *testing.T) {
	body := hugeReply(200, 1).body
	require.Greater(t, len(body), 64<<10)
	require.True(t, strings.HasSuffix(string(body), `"}`))
}

func TestRetryAfterDateIsNotSoonerThanAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		advance(300 * time.Millisecond) // the bubble's clock: an odd part of a second
		got, err := retryAfter("date+3s", time.Now())
		require.NoError(t, err)
		date, err := http.ParseTime(got)
		require.NoError(t, err)
		require.Equal(t, 3*time.Second+700*time.Millisecond, time.Until(date))
	})
}

func TestAResetCutsTheConnection(t *testing.T) {
	for _, secured := range []bool{false, true} {
		for phase, effect := range map[Phase]int{Before: 0, After: 1} {
			s := scripted(t, "{reset: "+string(phase)+"}")
			server := start(t, s, ServerOptions{TLS: secured})
			_, err := trusting(t, server).Do(newRequest(t, context.Background(), server.URL()+messagePath("acme", umid(1))))
			require.ErrorIs(t, err, syscall.ECONNRESET)
			got := s.CallsOf(umid(1))[0]
			require.Equal(t, "reset-"+string(phase), got.Fault)
			require.Zero(t, got.Status)
			require.Equal(t, effect, got.Effect)
		}
	}
}

func TestATruncatedAnswerEndsEarly(t *testing.T) {
	for answer, want := range map[string]Call{
		"{truncated: true}":                            {Status: 200, Fault: "truncated", Effect: 1},
		"{truncated: true, status: 404}":               {Status: 404, Fault: "truncated-404"},
		"{truncated: true, body: '{}', status: 500}":   {Status: 500, Fault: "truncated-body"},
		"{truncated: true, html: true, effect: true}":  {Status: 502, Fault: "truncated-html-after", Effect: 1},
		"{truncated: true, status: 201, delay: 1ms}":   {Status: 201, Fault: "truncated", Effect: 1},
		"{truncated: true, noCount: true, delay: 1ms}": {Status: 200, Fault: "truncated-no-count"},
	} {
		for _, secured := range []bool{false, true} {
			s := scripted(t, answer)
			server := start(t, s, ServerOptions{TLS: secured})
			res, err := trusting(t, server).Do(newRequest(t, context.Background(), server.URL()+messagePath("acme", umid(1))))
			require.NoError(t, err)
			body, err := io.ReadAll(res.Body)
			require.NoError(t, res.Body.Close())
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, answer)
			require.NotEmpty(t, body, answer)
			require.Equal(t, want.Status, res.StatusCode)

			got := s.CallsOf(umid(1))[0]
			require.Equal(t, want, Call{Status: got.Status, Fault: got.Fault, Effect: got.Effect})
		}
	}
}

// failing makes a call for umid(1) that gets no answer. Its error arrives on the
// channel; patience bounds the call, so that a broken promise is an error too.
func failing(t *testing.T, ctx context.Context, server *Server) <-chan error {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	req, client := newRequest(t, ctx, server.URL()+messagePath("acme", umid(1))), newClient(t)
	failed := make(chan error, 1)
	go func() {
		defer cancel()
		res, err := client.Do(req)
		if err == nil {
			err = errors.Join(errors.New("answered"), res.Body.Close())
		}
		failed <- err
	}()
	return failed
}

func TestAHangNeverAnswersAndHasItsEffectOnTheRightSide(t *testing.T) {
	for phase, effect := range map[Phase]int{Before: 0, After: 1} {
		s := scripted(t, "{hang: "+string(phase)+"}")
		server := start(t, s, ServerOptions{})
		ctx, cancel := context.WithCancel(context.Background())
		failed := failing(t, ctx, server)
		awaitCalls(t, s, func(sum Summary) bool { return sum.InProgress == 1 && sum.Cancelled == int64(effect) })
		require.True(t, s.CallsOf(umid(1))[0].EndedAt.IsZero(), "a call in progress is in the ledger")

		cancel() // the client gives up
		require.ErrorIs(t, <-failed, context.Canceled)
		awaitCalls(t, s, func(sum Summary) bool { return sum.InProgress == 0 })
		got := s.CallsOf(umid(1))[0]
		require.Equal(t, "hang-"+string(phase), got.Fault)
		require.Equal(t, effect, got.Effect)
		require.Zero(t, got.Status)
		require.True(t, got.Aborted)
	}
}

func TestClosingTheServerEndsHangsAndTheLedger(t *testing.T) {
	s := scripted(t, "{hang: before}")
	server := start(t, s, ServerOptions{})
	failed := failing(t, t.Context(), server)
	awaitCalls(t, s, func(sum Summary) bool { return sum.InProgress == 1 })
	server.Close()
	require.Zero(t, s.Summary().InProgress, "Close waits until the ledger is final")
	require.ErrorIs(t, <-failed, io.EOF)
}

func TestACallTakesEffectThoughItsClientHasLeft(t *testing.T) {
	s := scripted(t, "{delay: 1h}")
	server := start(t, s, ServerOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	failed := failing(t, ctx, server)
	awaitCalls(t, s, func(sum Summary) bool { return sum.InProgress == 1 })
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	awaitCalls(t, s, func(sum Summary) bool { return sum.InProgress == 0 })
	got := s.CallsOf(umid(1))[0]
	require.Equal(t, 1, got.Effect)
	require.Zero(t, got.Status, "nobody was answered")
	require.True(t, got.Aborted)
}

func TestAScriptIsPlayedOnceAndThenTheMessageIsNormal(t *testing.T) {
	s := scripted(t, "{status: 503, repeat: 2}, {status: 404}, {}")
	var statuses []int
	var last string
	for range 5 {
		w := call(t, s, messagePath("acme", strings.ToUpper(umid(1))))
		statuses, last = append(statuses, w.Code), w.Body.String()
	}
	require.Equal(t, []int{503, 503, 404, 200, 200}, statuses)
	require.Equal(t, `{"cancelledCount":0}`, last)
	require.Equal(t, int64(1), s.Summary().Cancelled)
}

func TestAnUnauthorisedCallUsesUpNoScript(t *testing.T) {
	s := scripted(t, "{status: 503}")
	s.SetKeys(Key{Value: "other"})
	require.Equal(t, 401, call(t, s, messagePath("acme", umid(1))).Code)
	s.SetKeys()
	require.Equal(t, 503, call(t, s, messagePath("acme", umid(1))).Code)
}

func TestASubAccountRuleTreatsEveryCallButScriptedOnes(t *testing.T) {
	s := newSim(t, Options{Scenario: scenario(t, `
messages: {`+umid(9)+`: {answers: [{status: 404}]}}
subAccounts: {broken: {status: 500}}`)})
	for n := range 3 {
		require.Equal(t, 500, call(t, s, messagePath("broken", umid(n))).Code)
		require.Equal(t, 200, call(t, s, messagePath("whole", umid(100+n))).Code)
	}
	require.Equal(t, 404, call(t, s, messagePath("broken", umid(9))).Code)
	require.NoError(t, s.Declare(Scenario{SubAccounts: map[string]SubAccountRule{"broken": {}}}))
	require.Equal(t, 200, call(t, s, messagePath("broken", umid(1))).Code, "a rule can be lifted while running")
}

func TestFaultRatesAreKept(t *testing.T) {
	const calls = 20_000
	s := newSim(t, Options{MaxCalls: 1, Faults: Faults{Seed: 1, Rates: map[string]float64{
		"503": 0.1, "429": 0.05, "502-after": 0.05, "html": 0.02, "no-count": 0.02, "empty": 0.01,
	}}})
	for n := range calls {
		call(t, s, messagePath("acme", umid(n)))
	}
	sum := s.Summary()
	for fault, rate := range s.Faults().Rates {
		require.InDelta(t, rate*calls, sum.Faults[fault], 150, fault)
	}
	require.Equal(t, sum.Statuses[200]-sum.Faults["no-count"]-sum.Faults["empty"]+sum.Faults["502-after"], sum.Cancelled)
}

func TestTheSameSeedGivesTheSameFaultsInAnyOrder(t *testing.T) {
	fates := func(seed uint64, order []int) map[int][]int {
		s := newSim(t, Options{Faults: Faults{Seed: seed, Rates: map[string]float64{"500": 0.3, "503": 0.3}}})
		got := map[int][]int{}
		for _, n := range order {
			got[n] = append(got[n], call(t, s, messagePath("acme", umid(n))).Code)
		}
		return got
	}
	var ordered, shuffled []int
	for round := range 3 {
		for n := range 200 {
			ordered = append(ordered, n)
			shuffled = append(shuffled, (n*77+13*round)%200)
		}
	}
	require.Equal(t, fates(5, ordered), fates(5, shuffled))
	require.NotEqual(t, fates(5, ordered), fates(6, ordered))
}

func TestFaultsCanBeSetAndLiftedWhileRunning(t *testing.T) {
	s := newSim(t, Options{})
	require.NoError(t, s.SetFaults(Faults{Rates: map[string]float64{"503": 1}, RetryAfter: "7"}))
	w := call(t, s, messagePath("acme", umid(1)))
	require.Equal(t, 503, w.Code)
	require.Equal(t, "7", w.Header().Get("Retry-After"))
	require.Error(t, s.SetFaults(Faults{Rates: map[string]float64{"503": 2}}))
	require.Equal(t, 503, call(t, s, messagePath("acme", umid(1))).Code, "invalid faults change nothing")
	require.NoError(t, s.SetFaults(Faults{}))
	require.Equal(t, 200, call(t, s, messagePath("acme", umid(1))).Code)
}

func TestEveryNamedFaultIsUnderstoodAndNamedTheSame(t *testing.T) {
	for _, name := range []string{"300", "404", "503", "503-after", "hang-before", "hang-after", "reset-before", "reset-after",
		"truncated", "huge", "huge-after", "html", "html-after", "empty", "empty-after", "redirect", "no-count", "no-count-after"} {
		a, err := parseFault(name)
		require.NoError(t, err)
		require.NoError(t, a.validate(), name)
		require.Equal(t, name, a.Name())
	}
	for _, name := range []string{"", "200", "600", "hang", "reset", "-after", "truncated-after", "50x"} {
		_, err := parseFault(name)
		require.Error(t, err, name)
	}
}

func TestInvalidFaultsAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"rates: {503: 1.5}":                             "rate of 503 is 1.5, must be 0 to 1",
		"rates: {503: -1}":                              "must be 0 to 1",
		"rates: {503: .nan}":                            "must be 0 to 1",
		"rates: {503: 0.6, 500: 0.6}":                   "rates add up to 1.2",
		"rates: {boom: 0.1}":                            `unknown fault "boom"`,
		"retryAfter: date+x":                            "needs a duration like date+3s",
		"latency: 5":                                    "latency",
		"latency: -5ms":                                 "must not be negative",
		"latency: 9ms..5ms":                             "min must not exceed max",
		"latency: {fixed: 1ms, max: 2ms}":               "give fixed, or min and max, or median and p99",
		"latency: {median: 2ms, p99: 1ms}":              "p99 not below it",
		"latency: {p99: 1ms}":                           "a median above 0",
		"speed: 1":                                      "field speed not found",
		"seed: 1\n---\nseed: 2":                         "more than one YAML document",
		`{"rates":{"503":0.1},"latency":{"mean":"1s"}}`: "field mean not found",
	} {
		_, err := ParseFaults(strings.NewReader(text))
		require.ErrorContains(t, err, want, text)
	}
}
