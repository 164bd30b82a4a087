package process

import (
	"testing"

	"smscancel/worker"
	"smscancel/worker/status"
)

// Promise: of a request that may not call yet the status says what holds it back:
// its own sub-account first, then all together, and else it is only in line.
func TestTheOldestRequestSaysWhatHoldsItBack(t *testing.T) {
	for want, c := range map[string]struct{ stage, all, own, other string }{
		"breaker":       {worker.WaitsForAdmission, open, "breaker", open},
		"auth":          {worker.WaitsForAdmission, pause, "auth", open},
		"pause":         {worker.WaitsForAdmission, pause, open, "breaker"},
		"limit or slot": {worker.WaitsForAdmission, open, open, "breaker"},
		"retry":         {"retry", pause, "breaker", open},
	} {
		s := status.Status{Destination: status.Door{State: c.all}, Oldest: &status.Oldest{SubAccountID: "acme", WaitsFor: c.stage}, SubAccounts: []status.SubAccount{
			{SubAccountID: "acme", Door: status.Door{State: c.own}}, {SubAccountID: "other", Door: status.Door{State: c.other}},
		}}
		if explain(&s); s.Oldest.WaitsFor != want {
			t.Errorf("it says %q, want %q", s.Oldest.WaitsFor, want)
		}
	}
	explain(&status.Status{}) // nothing is in hand
}
