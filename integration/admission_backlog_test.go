package integration

import (
	"fmt"
	"time"

	"smscancel/integration/checker"
)

const (
	ownLimit   = 600.0  // calls per second of the sub-account
	totalLimit = 1000.0 // of all together
)

// backlogTrial has a campaign of a million requests wait in the lower lane. Limits,
// what an interactive request waits, replicas that come and go, and the end of the
// campaign by the configuration file.
func backlogTrial(tr *trial) {
	total := number("SMSCANCEL_BACKLOG", 1_000_000)
	bulk := tr.lowerLane()
	file := tr.configMap(fmt.Sprintf("sub-accounts: {acme_shop: {rate-limit: %v}}\n", ownLimit))
	flags := []string{"--rate-limit-total", fmt.Sprint(totalLimit), "--config", file.path}
	a := tr.start("a", flags...)
	tr.waitRunning(a)
	interactive := func() string { return `"subAccountId":"acme_shop"` }
	idle := tr.waits(tr.requests, 40, 5*time.Second, interactive)
	tr.flood(bulk, total, func(int) string { return `"subAccountId":"acme_shop","campaignId":"bulk"` })

	pass(3 * time.Second)
	tr.limit("sub-account", ownLimit)
	changed := time.Now()
	file.swap("{}\n")
	pass(2 * time.Second)
	tr.limit("all", totalLimit)
	waited := tr.waits(tr.requests, 40, 15*time.Second, interactive)
	inTrips := func(d time.Duration) float64 { return float64(d-percentile(idle, 50)) / float64(roundTrip) }
	tr.atMost(fmt.Sprintf("an interactive request behind %d others of its sub-account: 99 of 100 wait so many round trips", total),
		3, inTrips(percentile(waited, 99)), "median %.2g, longest %.2g", inTrips(percentile(waited, 50)), inTrips(percentile(waited, 100)))

	began := time.Now()
	b := tr.start("b", flags...)
	tr.rebalanced("two replicas", began, a, b)
	second := time.Now()
	c := tr.start("c", flags...)
	tr.rebalanced("three replicas", second, a, b, c)
	third := time.Now()
	b.stop()
	tr.rebalanced("two of them, one was stopped", third, a, c)
	now := time.Now()
	tr.atMost("limit of all while replicas come and go: fullest second / limit", 1.1, tr.fullest(began, now)/totalLimit,
		"in %.0f s, changed %.0f s before", now.Sub(began).Seconds(), began.Sub(changed).Seconds())

	tr.endOfCampaign("paused", "paused: {campaigns: [bulk]}\n", file)
	file.swap("{}\n")
	pass(4 * time.Second)
	tr.endOfCampaign("withdrawn", "withdrawn-campaigns: [bulk]\n", file)
	for _, r := range []*replica{a, c} {
		r.kill() // hundreds of thousands are being withdrawn
	}
	tr.setup = checker.Setup{}
}

// limit measures for a while how a limit is kept and used.
func (tr *trial) limit(what string, limit float64) {
	tr.t.Helper()
	from, to := pass(12 * time.Second)
	tr.atMost("limit of "+what+", one replica: fullest second / limit", 1.1, tr.fullest(from, to)/limit, "of %.0f calls/s", limit)
	tr.atLeast("limit of "+what+", one replica: used / limit", 0.95, tr.rate(from, to)/limit, "of %.0f calls/s", limit)
}

// rebalanced waits until replicas have shared the partitions out, and measures how
// the limit of all is used then.
func (tr *trial) rebalanced(what string, began time.Time, replicas ...*replica) {
	tr.t.Helper()
	tr.waitRunning(replicas...)
	settled := time.Now()
	pass(2 * time.Second)
	from, to := pass(10 * time.Second)
	tr.atLeast("limit of all, "+what+": used / limit", 0.95, tr.rate(from, to)/totalLimit,
		"%.3g in the %.1f s of the rebalance", tr.rate(began, settled)/totalLimit, settled.Sub(began).Seconds())
}

// endOfCampaign changes the file while the campaign is being called.
func (tr *trial) endOfCampaign(how, content string, file *configMap) {
	tr.t.Helper()
	before := time.Now()
	if tr.rate(before.Add(-time.Second), before) < totalLimit/2 {
		tr.t.Errorf("the campaign is not being called before it is %s", how)
	}
	changed := time.Now()
	file.swap(content)
	_, now := pass(6 * time.Second)
	calls := tr.callsIn(changed, now, "")
	last := calls[len(calls)-1].StartedAt
	tr.atMost("a wrong campaign is "+how+" by the file, which two replicas have: last call after / 2 s", 1,
		last.Sub(changed).Seconds()/2, "%d calls after the change", len(calls))
}
