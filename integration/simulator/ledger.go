package simulator

import (
	"maps"
	"strings"
	"sync"
	"time"
)

// Call is one request that reached the simulator, as the ledger keeps it. The
// key is never kept.
type Call struct {
	Sequence    int64     `json:"sequence"` // from 1, in the order of arrival
	StartedAt   time.Time `json:"startedAt"`
	EndedAt     time.Time `json:"endedAt,omitzero"` // just before the answer is sent; zero while the call is in progress
	Method      string    `json:"method"`
	Path        string    `json:"path"` // as it came, escaped
	SubAccount  string    `json:"subAccount,omitempty"`
	ID          string    `json:"id,omitempty"` // UMID or batch id as the client wrote it
	Batch       bool      `json:"batch"`
	UserAgent   string    `json:"userAgent,omitempty"`
	TraceParent string    `json:"traceparent,omitempty"`
	Authorised  bool      `json:"authorised"`        // the key is known and belongs to the sub-account
	Status      int       `json:"status"`            // HTTP status answered; 0 = none
	Count       *int      `json:"count,omitzero"`    // cancelledCount answered, if a whole answer of the API was sent
	Code        int       `json:"code,omitzero"`     // code answered, likewise
	ErrorID     string    `json:"errorId,omitempty"` // errorId answered, likewise
	Effect      int       `json:"effect"`            // messages that this call cancelled
	Fault       string    `json:"fault,omitempty"`   // see Answer.Name; "limit" = over the rate limit
	Aborted     bool      `json:"aborted,omitempty"` // the client left before it was answered
}

// Summary counts all calls since the start or the last Reset, those included
// that the ledger no longer keeps.
type Summary struct {
	Calls          int64            `json:"calls"`
	InProgress     int              `json:"inProgress"`
	PeakInProgress int              `json:"peakInProgress"`
	Unauthorised   int64            `json:"unauthorised"`
	Cancelled      int64            `json:"cancelled"` // messages, batches by their size
	Statuses       map[int]int64    `json:"statuses"`  // finished calls by HTTP status; 0 = no answer
	Faults         map[string]int64 `json:"faults"`    // finished calls by fault
}

// ledger keeps the calls in order. One short lock is enough: what it guards
// takes far less time than an HTTP request.
type ledger struct {
	max int // calls kept; 0 = all

	mu      sync.Mutex
	calls   []*Call // without gaps in Sequence
	byID    map[string][]*Call
	summary Summary
	changed chan struct{} // closed at the next change; nil while nobody waits
}

func newLedger(limit int) *ledger {
	return &ledger{
		max:     limit,
		byID:    make(map[string][]*Call),
		summary: Summary{Statuses: make(map[int]int64), Faults: make(map[string]int64)},
	}
}

// begin files a call; from now on only the ledger's methods may change it.
func (l *ledger) begin(c *Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.summary.Calls++
	l.summary.InProgress++
	l.summary.PeakInProgress = max(l.summary.PeakInProgress, l.summary.InProgress)
	if !c.Authorised {
		l.summary.Unauthorised++
	}
	c.Sequence = l.summary.Calls
	l.calls = append(l.calls, c)
	l.byID[callKey(c.ID)] = append(l.byID[callKey(c.ID)], c)
	if l.max > 0 && len(l.calls) > l.max {
		l.dropOldest()
	}
	l.signal()
}

// effect notes that a call has cancelled messages.
func (l *ledger) effect(c *Call, count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.Effect += count
	l.summary.Cancelled += int64(count)
	l.signal()
}

// end notes how a call was answered; the zero reply = not at all.
func (l *ledger) end(c *Call, rep reply, fault string, aborted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.EndedAt, c.Status, c.Fault, c.Aborted = time.Now(), rep.status, fault, aborted
	c.Count, c.Code, c.ErrorID = rep.count, rep.code, rep.errorID
	l.summary.InProgress--
	l.summary.Statuses[rep.status]++
	if fault != "" {
		l.summary.Faults[fault]++
	}
	l.signal()
}

func (l *ledger) dropOldest() {
	oldest := l.calls[0]
	l.calls[0] = nil
	l.calls = l.calls[1:]
	key := callKey(oldest.ID)
	if same := l.byID[key]; len(same) > 1 {
		l.byID[key] = same[1:]
	} else {
		delete(l.byID, key)
	}
}

// signal wakes those who wait for a change. It needs the lock.
func (l *ledger) signal() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// watch gives the totals and a channel that is closed when they change.
func (l *ledger) watch() (Summary, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.summary.clone(), l.changed
}

func (l *ledger) totals() Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.summary.clone()
}

func (s Summary) clone() Summary {
	s.Statuses = maps.Clone(s.Statuses)
	s.Faults = maps.Clone(s.Faults)
	return s
}

// wake lets those who wait look again, for instance at another ledger.
func (l *ledger) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.signal()
}

// after copies at most limit calls that follow the given sequence; 0 = no limit.
func (l *ledger) after(sequence int64, limit int) []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.calls) == 0 {
		return nil
	}
	skip := min(max(sequence-l.calls[0].Sequence+1, 0), int64(len(l.calls)))
	return copyCalls(l.calls[skip:], limit)
}

// of copies the calls for an id, in any case, in order.
func (l *ledger) of(id string) []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return copyCalls(l.byID[callKey(id)], 0)
}

func copyCalls(calls []*Call, limit int) []Call {
	if limit > 0 && len(calls) > limit {
		calls = calls[:limit]
	}
	copied := make([]Call, len(calls))
	for i, c := range calls {
		copied[i] = *c
	}
	return copied
}

func callKey(id string) string { return strings.ToLower(id) }
