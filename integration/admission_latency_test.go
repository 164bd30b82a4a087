package integration

import (
	"time"

	"smscancel/integration/simulator"
)

// latencyTrial has an API that takes 300 ms, and the default of --concurrency.
func latencyTrial(tr *trial) {
	const limit, latency = 3000.0, 300 * time.Millisecond
	tr.faults(simulator.Faults{Latency: simulator.Latency{Min: latency / 2, Max: latency * 3 / 2}})
	tr.flood(tr.requests, 90_000, func(int) string { return `"subAccountId":"acme_shop"` })
	r := tr.start("worker", "--rate-limit", "3000", "--rate-limit-total", "3000")
	tr.waitRunning(r)
	pass(12 * time.Second)
	from, to := pass(8 * time.Second)
	var sum time.Duration
	calls := tr.callsIn(from, to.Add(-time.Second), "") // which have been answered
	for _, c := range calls {
		sum += c.EndedAt.Sub(c.StartedAt)
	}
	tr.atLeast("an API that takes 300 ms, default --concurrency: used / limit of 3,000 calls/s", 0.95, tr.rate(from, to)/limit,
		"at most %d calls at once; the simulator took %v", tr.sim.Summary().PeakInProgress, ms(sum/time.Duration(max(len(calls), 1))))
	r.stop()
}
