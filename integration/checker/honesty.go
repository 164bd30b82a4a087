package checker

import (
	"net/http"

	"smscancel/integration/simulator"
	"smscancel/worker"
)

// checkHonesty holds every outcome that is not a copy against the calls that
// were made for its record.
func (c *check) checkHonesty() {
	for i := range c.requests {
		r := &c.requests[i]
		if r.outcome == none {
			continue
		}
		switch o := &c.outcomes[r.outcome]; o.status {
		case worker.StatusDuplicate: // see checkMessages
		case worker.StatusRejected:
			if o.ambiguous || o.attempts != 0 {
				c.violated(Contradiction, int32(i), "its outcome is rejected, with %d attempts, ambiguous: %t", o.attempts, o.ambiguous)
			}
		default:
			if r.target != none {
				c.judge(int32(i), r, o)
			}
		}
	}
}

func (c *check) judge(i int32, r *request, o *outcome) {
	t := c.triesOf(r, o)
	if t.exact {
		c.checkAttempts(i, o, &t)
	}
	if o.status == worker.StatusExpired && !c.run.Setup.ClocksDiffer && (r.deadline == 0 || o.completed+1 < r.deadline) {
		c.violated(EarlyExpiry, i, "its outcome of %s is expired, and its deadline is %s", clockOf(o.completed), clockOf(r.deadline))
	}
	if t.exact && t.near == 0 && !c.heldBehind(i, o, &t) {
		if why := c.contradiction(o, &t); why != "" {
			c.violated(Contradiction, i, "its outcome is %s: %s", o.status, why)
			return
		}
	}
	c.checkAmbiguous(i, r, o, &t)
}

// checkAttempts: the number of calls tried by the owner that publishes, those
// that never got a connection included.
func (c *check) checkAttempts(i int32, o *outcome, t *tries) {
	n := int32(len(t.all))
	lost := c.run.Setup.CallsLost && !t.logged
	if o.attempts < n || o.attempts > n+int32(t.near) && !lost {
		c.violated(WrongAttempts, i, "its outcome reports %d attempts, its owner made %d", o.attempts, n)
		return
	}
	for _, one := range t.all {
		// A request that was written may be lost: a client that gives up resets the
		// connection, and what the API has not read yet is gone.
		if seen, logged := c.of(one); seen == nil && logged.status != 0 {
			c.violated(WrongAttempts, i, "an attempt at %s was answered %d, and the API never saw it", clockOf(logged.started), logged.status)
			return
		}
	}
}

// heldBehind tells whether a request failed with the refusal of its
// sub-account's key that the API gave to another request's call: while a key is
// bad not every message calls.
func (c *check) heldBehind(i int32, o *outcome, t *tries) bool {
	e := c.errorOf(o)
	if o.status != worker.StatusFailed || o.count >= 0 || e == nil {
		return false
	}
	for _, one := range t.all {
		if seen, _ := c.of(one); seen != nil && answered(seen) {
			return false
		}
	}
	refusal := c.refusal(e.ErrorID)
	if refusal == nil || refusal.StartedAt.UnixMilli() > o.completed || answerContradiction(e, refusal) != "" {
		return false
	}
	req, err := worker.Parser{DefaultSubAccount: c.run.Setup.DefaultSubAccount}.Parse(workerRecord(&c.run.Requests[i]))
	return err == nil && req.SubAccountID == refusal.SubAccount
}

// refusal is the call that was answered 401 or 426 with an errorId; nil if there
// is none.
func (c *check) refusal(errorID string) *simulator.Call {
	if c.refusals == nil {
		c.refusals = map[string]*simulator.Call{}
		for i := range c.run.Calls {
			if k := &c.run.Calls[i]; k.ErrorID != "" && (k.Status == http.StatusUnauthorized || k.Status == http.StatusUpgradeRequired) {
				c.refusals[k.ErrorID] = k
			}
		}
	}
	return c.refusals[errorID]
}

// contradiction says how an outcome contradicts the last try of its owner; empty
// if it does not.
func (c *check) contradiction(o *outcome, t *tries) string {
	var seen *simulator.Call
	var logged *attempt
	if len(t.all) > 0 {
		seen, logged = c.of(t.all[len(t.all)-1])
	}
	switch {
	case seen != nil && unknown(seen):
		return ""
	case o.status == worker.StatusCancelled || o.status == worker.StatusNotCancelled:
		return countContradiction(o, seen)
	case o.count >= 0:
		return "but it has a count"
	}
	return c.errorContradiction(o, t, seen, logged)
}

func countContradiction(o *outcome, seen *simulator.Call) string {
	switch {
	case (o.status == worker.StatusCancelled) != (o.count > 0) || o.count < 0:
		return "that does not go with its count"
	case seen == nil:
		return "but the API was not called"
	case !answered(seen):
		return "but the API did not answer its last call with a count"
	case *seen.Count != int(o.count):
		return "but the API counted otherwise"
	}
	return ""
}

// errorContradiction judges outcomes of status failed and expired: their error
// is that of the last try.
func (c *check) errorContradiction(o *outcome, t *tries, seen *simulator.Call, logged *attempt) string {
	e := c.errorOf(o)
	switch {
	case e == nil && o.status == worker.StatusExpired && (len(t.all) == 0 || o.attempts == 0):
		return ""
	case e == nil:
		return "but it has no error"
	case o.withdrawn && e.HTTPStatus == 0:
		return "" // the operator's word, whatever the API has said
	case len(t.all) == 0 || e.HTTPStatus == 0 && e.Kind == worker.KindUnauthorized:
		return withoutCall(e, o)
	case seen == nil || logged != nil && logged.status == 0:
		if e.HTTPStatus != 0 {
			return "but its last call had no answer"
		}
		return ""
	case seen.Status == 0:
		if e.HTTPStatus != 0 {
			return "but the API gave no answer to the last call"
		}
		return ""
	case e.HTTPStatus == 0:
		if took := float64(seen.EndedAt.Sub(seen.StartedAt).Milliseconds()); c.slow(took) || c.run.Setup.CallsLost {
			return ""
		}
		return "but the API answered its last call"
	}
	return answerContradiction(e, seen)
}

// withoutCall judges an error that no call gave.
func withoutCall(e *worker.Error, o *outcome) string {
	switch e.Kind {
	case worker.KindUnauthorized, worker.KindInvalidRequest, worker.KindWithdrawn:
		if e.HTTPStatus == 0 {
			return ""
		}
	case worker.KindNetwork, worker.KindTimeout, worker.KindTLS:
		if e.HTTPStatus == 0 && o.attempts > 0 {
			return "" // none of them had a connection
		}
	}
	return "but nobody called the API"
}

// answerContradiction compares an error with the answer that it must come from.
func answerContradiction(e *worker.Error, seen *simulator.Call) string {
	kind, code := kindOf(seen), 0
	if e.Code != nil {
		code = *e.Code
	}
	switch {
	case answered(seen):
		return "but the API answered the last call with a count"
	case e.HTTPStatus != seen.Status:
		return "but the API answered the last call with another HTTP status"
	case leavesOpen(seen) && (e.Kind == worker.KindTimeout || e.Kind == worker.KindBadResponse):
		return "" // it came in part
	case e.Kind != kind && e.Kind != worker.KindTimeout:
		return "but its kind of error is not that of the API's answer"
	case kind == worker.KindBadResponse:
		return "" // whatever it says is not the API's word
	case e.Kind == kind && (code != seen.Code || e.ErrorID != seen.ErrorID):
		return "but the API gave another code or errorId"
	}
	return ""
}

// kindOf is the kind of error that an answer makes: the spec's table of kinds.
func kindOf(k *simulator.Call) worker.Kind {
	switch {
	case k.Status/100 == 5:
		return worker.KindServerError
	case k.Status == http.StatusTooManyRequests:
		return worker.KindRateLimited
	case k.Status == http.StatusRequestTimeout, k.Status == http.StatusTooEarly:
		return worker.KindClientError
	case k.Status/100 != 4 || k.Code == 0:
		return worker.KindBadResponse
	}
	kinds := map[int]worker.Kind{
		http.StatusBadRequest: worker.KindInvalidRequest, http.StatusUnauthorized: worker.KindUnauthorized, http.StatusForbidden: worker.KindForbidden,
		http.StatusNotFound: worker.KindNotFound, http.StatusUpgradeRequired: worker.KindUpgradeRequired,
	}
	if kind, ok := kinds[k.Status]; ok {
		return kind
	}
	return worker.KindClientError
}

// errorOf reads the error of an outcome again: few have one.
func (c *check) errorOf(o *outcome) *worker.Error {
	decoded, err := worker.DecodeOutcome(c.run.Outcomes[c.requests[o.request].outcome].Value)
	if err != nil {
		return nil
	}
	return decoded.Error
}
