package integration

import (
	"fmt"
	"time"

	"smscancel/integration/simulator"
	"smscancel/worker"
)

// dueIn is the fields of a request that is due at a time from now.
func dueIn(sub string, d time.Duration) string {
	return fmt.Sprintf(`"subAccountId":%q,"scheduledAt":%q`, sub, time.Now().Add(d).UTC().Format(time.RFC3339Nano))
}

// deadlineTrial has requests that are due tomorrow fill half of the window; then
// some come that are due in 20 s. And requests pass their deadline wherever they
// may wait.
func deadlineTrial(tr *trial) {
	const backlog, perSecond = 6000, 200
	file := tr.configMap("sub-accounts: {acme_slow: {rate-limit: 1}}\n")
	r := tr.start("worker", "--rate-limit-total", fmt.Sprint(perSecond), "--config", file.path)
	tr.waitRunning(r)
	soon := func() string { return dueIn("acme_shop", 20*time.Second) }
	idle := tr.waits(tr.requests, 20, 5*time.Second, soon)
	tr.flood(tr.requests, backlog, func(int) string { return dueIn("acme_shop", 24*time.Hour) })
	waited := tr.waits(tr.requests, 20, 8*time.Second, soon)
	inTrips := func(d time.Duration) float64 { return float64(d-percentile(idle, 50)) / float64(roundTrip) }
	tr.atMost(fmt.Sprintf("a request due in 20 s behind %d due tomorrow, which take %d s: 99 of 100 wait so many round trips", backlog, backlog/perSecond),
		3, inTrips(percentile(waited, 99)), "median %.2g, longest %.2g", inTrips(percentile(waited, 50)), inTrips(percentile(waited, 100)))
	tr.waitSettled(r)
	tr.expiry()
	r.stop()
}

// expiry has requests of four sub-accounts wait for four reasons past their
// deadline.
func (tr *trial) expiry() {
	tr.t.Helper()
	const each = 50
	refused := simulator.Answer{Status: 429, RetryAfter: "60"}
	tr.declare(map[string]simulator.SubAccountRule{
		"acme_paused": {Answer: refused}, "acme_broken": {Answer: simulator.Answer{Status: 503}},
		"acme_retry": {Answer: simulator.Answer{Status: 429}},
	})
	subs := []string{"acme_slow", "acme_paused", "acme_broken", "acme_retry"}
	before := tr.countOutcomes()
	due := time.Now().Add(8 * time.Second)
	fields := func(i int) string {
		return fmt.Sprintf(`"subAccountId":%q,"scheduledAt":%q`, subs[i%len(subs)], due.UTC().Format(time.RFC3339Nano))
	}
	tr.flood(tr.requests, each*len(subs), fields)
	tr.waitForOutcomes(before + each*len(subs))
	var latest time.Duration
	expired := map[string]int{}
	for _, f := range tr.readOutcomes() {
		if f.outcome.Status == worker.StatusExpired {
			latest = max(latest, f.record.Timestamp.Sub(due))
			expired[f.outcome.SubAccountID]++
		}
	}
	for _, sub := range subs {
		if expired[sub] < each/2 {
			tr.t.Errorf("%d requests of %s have expired", expired[sub], sub)
		}
	}
	tr.atMost("requests behind a limit, a Retry-After, a breaker, in backoff: the last `expired` comes so many round trips after its deadline",
		5, float64(latest)/float64(roundTrip), "%v", latest.Round(time.Millisecond))
}
