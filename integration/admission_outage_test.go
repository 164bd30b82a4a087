package integration

import (
	"fmt"
	"time"

	"smscancel/integration/simulator"
)

// outageTrial has the API fail for a while, with a backlog of two sub-accounts at
// the limit of all.
func outageTrial(tr *trial) {
	length := duration(tr.t, "SMSCANCEL_OUTAGE", 45*time.Second)
	r := tr.start("worker", "--rate-limit-total", fmt.Sprint(totalLimit))
	tr.waitRunning(r)
	tr.flood(tr.requests, 60_000, func(i int) string {
		return fmt.Sprintf(`"subAccountId":%q`, []string{"acme_shop", "acme_bank"}[i%2])
	})
	from, out := pass(8 * time.Second)
	former := tr.rate(out.Add(-4*time.Second), out)
	tr.faults(simulator.Faults{Rates: map[string]float64{"503": 1}, Latency: usualRoundTrip.Latency})
	_, healed := pass(length)
	tr.faults(usualRoundTrip)
	_, end := pass(15 * time.Second)
	r.stop()

	tr.sentDuring(out, healed, length)
	tr.recovered(healed, end, former)
	tr.atMost("limit of all before, in and after an outage: fullest second / limit", 1.1, tr.fullest(from, end)/totalLimit, "")
}

func (tr *trial) faults(f simulator.Faults) {
	tr.t.Helper()
	if err := tr.sim.SetFaults(f); err != nil {
		tr.t.Fatal(err)
	}
}

// sentDuring judges the calls of the outage. It is noticed with the answers to
// those that were sent first; everything after that is a probe.
func (tr *trial) sentDuring(out, healed time.Time, length time.Duration) {
	tr.t.Helper()
	const nobody = 200 * time.Millisecond // no probe comes so soon after another call
	calls := tr.callsIn(out, healed, "")
	early := 1
	for early < len(calls) && calls[early].StartedAt.Sub(calls[early-1].StartedAt) < nobody {
		early++
	}
	const trips = 3
	tr.atMost(fmt.Sprintf("an outage begins: calls until it is noticed / calls of %d round trips", trips), 1,
		float64(early)/(trips*totalLimit*roundTrip.Seconds()), "%d calls in %v", early, ms(calls[early-1].StartedAt.Sub(out)))
	// Two sub-accounts probe after 0.5 and 1 s, until the destination does, at most
	// 5 and at least 2.5 s apart.
	allowed := 4 + length.Seconds()/2.5
	widest := 0.0
	for i := early; i < len(calls); i++ {
		widest = max(widest, calls[i].StartedAt.Sub(calls[i-1].StartedAt).Seconds())
	}
	tr.atMost(fmt.Sprintf("an outage lasts %v: calls / probes", length), 1, float64(len(calls)-early)/allowed, "%d calls", len(calls)-early)
	tr.atMost("an outage lasts: widest gap between probes / 5 s", 1.02, widest/5, "")
}

// recovered judges how calls come back.
func (tr *trial) recovered(healed, end time.Time, former float64) {
	tr.t.Helper()
	back := healed
	for ; back.Add(time.Second).Before(end); back = back.Add(100 * time.Millisecond) {
		if tr.rate(back, back.Add(time.Second)) >= 0.95*former {
			break
		}
	}
	tr.atMost("after an outage: time until 95 % of the former rate / 10 s", 1, back.Sub(healed).Seconds()/10, "former rate %.0f/s", former)
	if after := tr.callsIn(healed, end, ""); len(after) > 1 {
		first := after[1].StartedAt // the one before is the probe that has found out
		tr.atMost("after an outage: calls of the first second / limit", 1, tr.rate(first, first.Add(time.Second))/totalLimit, "")
	}
}
