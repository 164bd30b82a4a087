package simulator

import (
	"cmp"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"time"
)

// exchange is one call on its way through the simulator.
type exchange struct {
	w      http.ResponseWriter
	r      *http.Request
	closed <-chan struct{} // the simulator's end
	world  *world

	routed     bool // the path is one of the cancel API
	target     target
	permission permission
	sub        *subAccount
	call       *Call
}

func (s *Simulator) serveAPI(w http.ResponseWriter, r *http.Request) {
	x := s.begin(w, r)
	if rep, fault := x.refuse(); rep != nil {
		x.finish(*rep, fault)
		return
	}
	x.perform(x.treatment())
}

func (s *Simulator) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{w: w, r: r, closed: s.closed, world: s.world.Load()}
	x.target, x.routed = parseTarget(r.URL)
	x.permission = x.world.keys.Load().check(r, x.target.subAccount)
	x.call = &Call{
		StartedAt:   time.Now(),
		Method:      r.Method,
		Path:        r.URL.EscapedPath(),
		SubAccount:  x.target.subAccount,
		ID:          x.target.id,
		Batch:       x.target.batch,
		UserAgent:   r.UserAgent(),
		TraceParent: r.Header.Get("Traceparent"),
		Authorised:  x.permission == permitted,
	}
	x.world.ledger.begin(x.call)
	// net/http notices that a client has left only once the body is read.
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 64<<10))
	return x
}

// refuse answers a call that never gets as far as its message, nil otherwise.
// The order is that of a gateway: route, transport, limits, identity.
func (x *exchange) refuse() (rep *reply, fault string) {
	for _, check := range []func() (*reply, string){
		x.checkRoute, x.checkTLS, x.checkTotalLimit, x.checkKey, x.checkSubAccount, x.checkSubAccountLimit,
	} {
		if rep, fault = check(); rep != nil {
			return rep, fault
		}
	}
	return nil, ""
}

// checkRoute answers as a gateway does that knows no such route: not in the
// API's format, which a client must not take for a 404 of the API.
func (x *exchange) checkRoute() (*reply, string) {
	switch {
	case !x.routed:
		rep := htmlReply(http.StatusNotFound)
		return &rep, ""
	case x.r.Method != http.MethodDelete:
		rep := htmlReply(http.StatusMethodNotAllowed)
		rep.header = map[string]string{"Allow": http.MethodDelete}
		return &rep, ""
	}
	return nil, ""
}

func (x *exchange) checkTLS() (*reply, string) {
	if x.r.TLS == nil || x.r.TLS.Version >= tls.VersionTLS13 {
		return nil, ""
	}
	detected := strings.Replace(tls.VersionName(x.r.TLS.Version), "TLS ", "TLSv", 1)
	rep := errorReply(http.StatusUpgradeRequired, 0,
		"TLS 1.3+ is required for Singapore-bound messages. Detected: "+detected)
	return &rep, ""
}

func (x *exchange) checkTotalLimit() (*reply, string) { return checkLimit(x.world.total) }

func (x *exchange) checkKey() (*reply, string) {
	var rep reply
	switch x.permission {
	case permitted:
		return nil, ""
	case foreignKey:
		rep = foreignReply()
	default:
		rep = errorReply(http.StatusUnauthorized, 0, "")
	}
	return &rep, ""
}

func (x *exchange) checkSubAccount() (*reply, string) {
	if subAccountID.MatchString(x.target.subAccount) {
		x.sub = x.world.subAccount(x.target.subAccount)
		if !x.sub.rule.Foreign {
			return nil, ""
		}
	}
	rep := foreignReply()
	return &rep, ""
}

func (x *exchange) checkSubAccountLimit() (*reply, string) { return checkLimit(x.sub.window) }

func checkLimit(w *window) (*reply, string) {
	if w.allow(time.Now()) {
		return nil, ""
	}
	rep := errorReply(http.StatusTooManyRequests, 0, "")
	return &rep, "limit"
}

// treatment is how the call fares: as its message's script says, else as its
// sub-account's rule says, else as the dice fall.
func (x *exchange) treatment() *Answer {
	key := newMessageKey(x.target.id, x.target.batch)
	nth, declared := x.world.messages.call(key)
	if declared == nil && !x.sub.rule.isZero() {
		declared = &x.sub.rule.Answer
	}
	drawn := x.world.hazards.Load().draw(key, nth)
	if declared == nil {
		return &drawn
	}
	treatment := *declared
	treatment.Delay = cmp.Or(declared.Delay, drawn.Delay)
	return &treatment
}

// perform does to the message what the treatment lets happen, and answers.
func (x *exchange) perform(a *Answer) {
	x.delay(a.Delay)
	var own reply
	var count int
	if a.takesEffect() {
		own, count = x.cancel()
	}
	switch {
	case a.silent():
		x.silence(a)
	case a.standsIn():
		x.finish(standIn(a, count).dress(a), a.Name())
	default:
		x.finish(own.dress(a), a.Name())
	}
}

// cancel is what the API does when nothing goes wrong.
func (x *exchange) cancel() (reply, int) {
	t := x.target
	if !t.batch && !isUUID(t.id) {
		return errorReply(http.StatusBadRequest, 0, ""), 0
	}
	count, found := x.world.messages.cancel(newMessageKey(t.id, t.batch), t.subAccount, x.call.Sequence, time.Now())
	if !found {
		return errorReply(http.StatusNotFound, 0, ""), 0
	}
	if count > 0 {
		x.world.ledger.effect(x.call, count)
	}
	return countReply(count), count
}

// finish files the answer before it sends it: whoever has the answer finds it
// in the ledger.
func (x *exchange) finish(rep reply, fault string) {
	if x.left() {
		x.world.ledger.end(x.call, reply{}, fault, true)
		panic(http.ErrAbortHandler)
	}
	x.world.ledger.end(x.call, rep, fault, false)
	rep.send(x.w)
}
