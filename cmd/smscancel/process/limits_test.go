package process

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"smscancel/worker"
	"smscancel/worker/admission"
	"smscancel/worker/api"
	"smscancel/worker/status"
)

// send lets one call of a sub-account out, and end in some way.
func send(t *testing.T, p *Process, sub string, r admission.Result) {
	t.Helper()
	pass, err := p.admission.Wait(t.Context(), admission.Ticket{SubAccountID: sub})
	if err != nil {
		t.Fatal(err)
	}
	pass.Done(r)
}

// Promise: who is held back, why, since when and until when stands in the status,
// in the metrics and once in the log.
func TestWhoIsHeldBackAndWhyIsToldEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, err := api.LiteralKey("secret-of-the-test")
		if err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		p, err := New(Config{
			APIURL: "http://127.0.0.1:1", Keys: keys, Live: Live{RateLimit: 100, RateLimitTotal: 1000}, AttemptTimeout: 10 * time.Second, AuthHold: time.Minute,
		}, zerolog.New(&log))
		if err != nil {
			t.Fatal(err)
		}
		code := 1200
		refused := admission.Result{Kind: admission.BadKey, Detail: &worker.Error{
			Kind: worker.KindUnauthorized, HTTPStatus: 401, Code: &code, ErrorID: "e-1", Message: "Invalid API key"}}
		send(t, p, "good", admission.Result{Kind: admission.Answered})
		send(t, p, "bad", refused)
		send(t, p, "busy", admission.Result{Kind: admission.Throttled, RetryAfter: time.Minute})
		for range 3 {
			go p.admission.Wait(t.Context(), admission.Ticket{SubAccountID: "bad", HoldFor: time.Hour, Arrival: time.Now()}) //nolint:errcheck // the test ends first
		}
		synctest.Wait()
		start := time.Now()

		s := p.Status()
		found := map[string]status.SubAccount{}
		for _, sub := range s.SubAccounts {
			found[sub.SubAccountID] = sub
		}
		bad, busy := found["bad"], found["busy"]
		if bad.State != "auth" || bad.Reason != "Invalid API key" || bad.Waiting != 3 || bad.RateAllowed != 100 ||
			!bad.Since.Equal(start) || !bad.NextProbe.After(start) || bad.NextProbe.Sub(start) > 500*time.Millisecond || !bad.Oldest.Equal(start) {
			t.Errorf("with a bad key: %+v", bad)
		}
		if busy.State != "pause" || !busy.PausedUntil.Equal(start.Add(time.Minute)) || busy.RateAllowed >= 100 {
			t.Errorf("with a Retry-After: %+v", busy)
		}
		if s.Destination.State != "open" || s.Destination.RateUsed != 3 || s.Destination.RateAllowed != 1000 {
			t.Errorf("destination: %+v", s.Destination)
		}
		want := []string{`hold{reason=auth,sub_account=bad} 1`, `hold{reason=pause,sub_account=busy} 1`, `waiting{reason=hold} 3`, `waiting{reason=budget} 0`}
		if got := gauges(t, p); !containsAll(got, want) {
			t.Errorf("metrics %q, want %q among them", got, want)
		}

		<-time.After(time.Second) // the probe is out: one of the three
		if lines := strings.Count(log.String(), "only probes go out"); lines != 1 || !strings.Contains(log.String(), `"errorId":"e-1"`) {
			t.Errorf("%d lines: %s", lines, log.String())
		}
		<-time.After(2 * time.Minute)
		if s := p.Status(); s.SubAccounts[0].State != "auth" {
			t.Errorf("later: %+v", s.SubAccounts)
		}
	})
}

// gauges are the values of smscancel_hold and smscancel_waiting, as text.
func gauges(t *testing.T, p *Process) (found []string) {
	t.Helper()
	families, err := p.metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		name := strings.TrimPrefix(family.GetName(), "smscancel_")
		if name != "hold" && name != "waiting" {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			found = append(found, fmt.Sprintf("%s{%s} %v", name, strings.Join(labels, ","), m.GetGauge().GetValue()))
		}
	}
	return found
}

func containsAll(got, want []string) bool {
	return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(got, w) })
}
