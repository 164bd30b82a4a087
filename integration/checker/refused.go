package checker

import (
	"cmp"
	"net/http"
	"slices"

	"smscancel/integration/simulator"
)

// keyCall is a call, as far as it tells about the key of its sub-account.
type keyCall struct {
	request        int32
	started, ended int64 // by the word of its process, Unix milliseconds
	answered       bool
	refused        bool // by an answer that concerns the key
	good           bool // an answer that lets the others out again
}

// withoutProbe is how long after a refusal no second call goes out at least:
// probes are a quarter of a second apart, and never less.
const withoutProbe = 200

// checkRefused: once a process has been told that a key is refused, no calls of the
// key's sub-account go out but single probes.
func (c *check) checkRefused() {
	type key struct {
		process    int32
		subAccount string
	}
	all := map[key][]keyCall{}
	for i := range c.calls {
		k := &c.calls[i]
		if k.attempt == none || k.request == none || c.run.Setup.ClocksDiffer {
			continue
		}
		seen, a := c.seen(k), &c.attempts[k.attempt]
		of := key{k.process, seen.SubAccount}
		all[of] = append(all[of], keyCall{request: k.request, started: a.started, ended: a.ended(), answered: a.status != 0 && a.status == seen.Status,
			refused: a.status == seen.Status && refusesKey(seen), good: a.status == http.StatusOK || a.status/100 == 4 && !refusesKey(seen)})
	}
	for _, calls := range all {
		if slices.ContainsFunc(calls, func(k keyCall) bool { return k.refused }) {
			c.checkProbes(calls)
		}
	}
}

// checkProbes judges the calls of one process for one sub-account.
func (c *check) checkProbes(calls []keyCall) {
	slices.SortStableFunc(calls, func(x, y keyCall) int { return cmp.Compare(x.started, y.started) })
	bad := int64(0) // when the first call had ended that may have stopped the others
	for _, k := range calls {
		if !k.good && (bad == 0 || k.ended < bad) {
			bad = k.ended
		}
	}
	for i := range calls {
		refusal := &calls[i]
		if !refusal.refused {
			continue
		}
		var beside []int32
		outdated := false // by the answer to a probe: the refusal is of a call from before it
		from, _ := slices.BinarySearchFunc(calls, refusal.started-2*c.run.Setup.AttemptTimeout.Milliseconds(), func(k keyCall, at int64) int { return cmp.Compare(k.started, at) })
		for j := from; j < len(calls) && calls[j].started <= refusal.ended+withoutProbe; j++ {
			k := &calls[j]
			outdated = outdated || k.good && k.started >= bad && k.ended >= refusal.started && k.ended <= refusal.ended+withoutProbe
			if k.answered && k.started > refusal.ended {
				beside = append(beside, k.request)
			}
		}
		if !outdated && len(beside) > 1 {
			c.violated(Hammered, beside[1], "%d calls went out within %d ms after its sub-account's key was refused at %s",
				len(beside), withoutProbe, clockOf(refusal.ended))
			return
		}
	}
}

// refusesKey is the spec's rule for what concerns every message of a key.
func refusesKey(k *simulator.Call) bool {
	return k.Code != 0 && (k.Status == http.StatusUpgradeRequired || k.Status == http.StatusUnauthorized && k.Code != 1001)
}
