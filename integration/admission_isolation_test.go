package integration

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"smscancel/integration/simulator"
)

// isolationTrial has two sub-accounts at a steady load. What the one suffers must
// not show at the other. Its backlog fits into half of the window all the time.
func isolationTrial(tr *trial) {
	const length = 15 * time.Second
	r := tr.start("worker", "--rate-limit", "600", "--rate-limit-total", "1000")
	tr.waitRunning(r)
	of := func(sub string) func() string { return func() string { return fmt.Sprintf(`"subAccountId":%q`, sub) } }
	bank := tr.loadOf(100, tr.timed(tr.requests, of("acme_bank")))
	begin := tr.numbers(1_000_000)
	shop := tr.loadOf(300, func(i int) *kgo.Record { return plainRequest(tr.requests, umid(begin+i), `"subAccountId":"acme_shop"`) })
	pass(2 * time.Second)
	answered := func(c simulator.Call) time.Time { return c.EndedAt }
	for _, trouble := range []struct {
		name   string
		answer simulator.Answer
	}{
		{"is 100 times slower", simulator.Answer{Delay: 100 * roundTrip}},
		{"is broken (503)", simulator.Answer{Status: 503}},
		{"gets 429 with a Retry-After", simulator.Answer{Status: 429, RetryAfter: "3"}},
	} {
		calm, disturbed := pass(length)
		tr.declare(map[string]simulator.SubAccountRule{"acme_shop": {Answer: trouble.answer}})
		_, healed := pass(length)
		tr.declare(map[string]simulator.SubAccountRule{"acme_shop": {}})
		before, after := tr.took(calm, disturbed, answered), tr.took(disturbed, healed, answered)
		tr.atMost("a sub-account "+trouble.name+": p99 of another one, during / before", 1.2,
			float64(percentile(after, 99))/float64(percentile(before, 99)), "%v, before %v; median %v, before %v", ms(percentile(after, 99)),
			ms(percentile(before, 99)), ms(percentile(after, 50)), ms(percentile(before, 50)))
		if trouble.answer.RetryAfter != "" {
			tr.pauses(disturbed, healed)
			break // the limit, cut by so many 429s, takes a minute or more to grow again
		}
		tr.awaitCalm(r)
	}
	bank.end()
	shop.end()
	r.stop()
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// pauses looks for the times in which a Retry-After of 3 s kept calls back.
func (tr *trial) pauses(from, to time.Time) {
	tr.t.Helper()
	const asked = 3.0
	calls := tr.callsIn(from, to, "acme_shop")
	var kept []float64
	for i := 1; i < len(calls); i++ {
		if gap := calls[i].StartedAt.Sub(calls[i-1].StartedAt).Seconds(); gap > asked/3 {
			kept = append(kept, gap/asked)
		}
	}
	if len(kept) < 3 {
		tr.t.Fatalf("%d pauses in %v", len(kept), to.Sub(from))
	}
	shortest, longest := kept[0], kept[0]
	for _, k := range kept {
		shortest, longest = min(shortest, k), max(longest, k)
	}
	tr.atLeast("Retry-After is kept: shortest pause / what was asked for", 1, shortest, "%d pauses of 3 s, %d calls in %.0f s", len(kept), len(calls), to.Sub(from).Seconds())
	tr.atMost("and calls go on after it: longest pause / what was asked for", 1.1, longest, "")
}

// awaitCalm waits until no sub-account is held back, nor has a backlog.
func (tr *trial) awaitCalm(r *replica) {
	tr.t.Helper()
	tr.eventually("the backlog to be gone", func() error {
		s, err := r.status()
		for _, sub := range s.SubAccounts {
			if sub.State != "open" || sub.Waiting > 10 {
				return fmt.Errorf("%+v", sub)
			}
		}
		return err
	})
}
