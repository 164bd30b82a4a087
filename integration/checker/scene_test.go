package checker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"smscancel/integration/simulator"
	"smscancel/worker"
)

const (
	cluster  = "cluster"
	requests = "requests"
	outcomes = "outcomes"
	canary   = "canary-4f1d-key"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// scene makes a run by hand, step by step, as the worker would.
type scene struct {
	t    *testing.T
	run  *Run
	now  time.Time
	logs map[string]*strings.Builder
	of   map[int64]*worker.Outcome // by offset of the request, for changes
	at   map[int64]int             // their index in the run
	next int64                     // ledger offset
}

func newScene(t *testing.T) *scene {
	return &scene{
		t: t, now: began, logs: map[string]*strings.Builder{}, of: map[int64]*worker.Outcome{}, at: map[int64]int{},
		run: &Run{Setup: Setup{ClusterID: cluster, Group: "g", OutcomeTopic: outcomes, N: 2, Window: 24 * time.Hour,
			SessionTimeout: 10 * time.Second, AttemptTimeout: 10 * time.Second, DefaultSubAccount: "acme", Canary: canary}},
	}
}

// pass lets time go by.
func (s *scene) pass(d time.Duration) *scene { s.now = s.now.Add(d); return s }

// owner is one session of partition 1.
type owner struct {
	instance string
	epoch    int16
}

const pid = 70

// request publishes a request, and returns its offset.
func (s *scene) request(key, format string, args ...any) int64 {
	s.pass(time.Millisecond)
	offset := int64(len(s.run.Requests))
	s.run.Requests = append(s.run.Requests, Record{
		Topic: requests, Partition: 1, Offset: offset, Timestamp: s.now, Key: []byte(key), Value: fmt.Appendf(nil, format, args...),
		Headers: []Header{{"traceparent", []byte(traceFor(offset))}}, ProducerID: -1, ProducerEpoch: -1,
	})
	return offset
}

func traceFor(offset int64) string { return fmt.Sprintf("00-%032x-00f067aa0ba902b7-01", offset+1) }

// cancel publishes a plain request.
func (s *scene) cancel(id string) int64 { return s.request(id, `{"umid":%q}`, id) }

// log writes a line of an owner's process.
func (s *scene) log(o owner, level, message string, fields map[string]any) {
	all := map[string]any{"level": level, "message": message, "instance": o.instance, "topic": requests, "partition": 1,
		"time": s.now.Format(worker.TimeFormat)}
	for k, v := range fields {
		all[k] = v
	}
	text, err := json.Marshal(all)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.logs[o.instance] == nil {
		s.logs[o.instance] = &strings.Builder{}
	}
	s.logs[o.instance].Write(append(text, '\n'))
}

// take has an owner take the partition over; found is the commit that it finds.
func (s *scene) take(o owner, offset, lease int64, found map[string]any) {
	s.pass(5 * time.Millisecond)
	fenced := s.now
	s.pass(5*time.Millisecond).log(o, "info", saysTakenOver, map[string]any{
		"group": "g", "producerId": pid, "epoch": o.epoch, "fencedAt": fenced.Format(worker.TimeFormat), "offset": offset,
		"end": len(s.run.Requests), "lease": lease, "metadata": found["producerId"] != nil, "outcomes": len(s.run.Outcomes), "commit": found,
	})
}

// commit commits an offset and a lease.
func (s *scene) commit(o owner, offset, lease int64) {
	s.pass(time.Millisecond)
	m := metadata{Version: 1, ClusterID: cluster, Outcomes: outcomes, N: 2, Offset: offset, PID: pid, Epoch: o.epoch, Lease: lease, Ledger: s.next}
	if offset > 0 {
		rec := workerRecord(&s.run.Requests[offset-1])
		m.Last = &last{Offset: rec.Offset, Timestamp: rec.Timestamp.UnixMilli(), Hash: rec.Hash()}
	}
	text, err := json.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	s.run.Commits = append(s.run.Commits, Commit{Topic: requests, Partition: 1, Offset: offset, Metadata: string(text), At: s.now})
}

// call makes one call for a request and logs it, unless the process dies in it.
func (s *scene) call(o owner, offset int64, answer simulator.Call, died ...bool) {
	s.pass(2 * time.Millisecond)
	started := s.now
	req := s.parsed(offset)
	call := answer
	call.Sequence = int64(len(s.run.Calls) + 1)
	call.StartedAt, call.EndedAt = s.now.Add(300*time.Microsecond), s.now.Add(2*time.Millisecond)
	call.SubAccount, call.ID, call.Batch = req.SubAccountID, req.ID, req.Batch
	call.UserAgent, call.TraceParent = "smscancel/v1 ("+o.instance+")", traceFor(offset)
	s.run.Calls = append(s.run.Calls, call)
	s.pass(3 * time.Millisecond)
	if len(died) > 0 {
		return
	}
	kind := ""
	if !answered(&call) {
		kind = string(kindOf(&call))
	}
	s.log(o, "debug", saysAttempt, map[string]any{"offset": offset, "startedAt": started.Format(worker.TimeFormat), "took": 3,
		"httpStatus": call.Status, "kind": kind, "open": leavesOpen(&call)})
}

func (s *scene) parsed(offset int64) *worker.Request {
	req, err := worker.Parser{DefaultSubAccount: "acme"}.Parse(workerRecord(&s.run.Requests[offset]))
	if err != nil {
		s.t.Fatal(err)
	}
	return req
}

// The API's answers.
func counted(n int) simulator.Call { return simulator.Call{Status: 200, Count: &n, Effect: n} }

func refused(status, code int) simulator.Call {
	return simulator.Call{Status: status, Code: code, ErrorID: fmt.Sprintf("error-%d", code)}
}

// errorFrom is the error that an answer makes.
func errorFrom(k simulator.Call) *worker.Error {
	return &worker.Error{Code: &k.Code, ErrorID: k.ErrorID, HTTPStatus: k.Status, Kind: kindOf(&k), Message: "no"}
}

// settle writes the outcome of a request.
func (s *scene) settle(o owner, offset int64, status worker.Status, change func(*worker.Outcome)) {
	s.pass(time.Millisecond)
	rec := workerRecord(&s.run.Requests[offset])
	var out *worker.Outcome
	req, err := worker.Parser{DefaultSubAccount: "acme"}.Parse(rec)
	if err != nil {
		out = worker.RejectedOutcome(rec, err.(*worker.Rejection), cluster)
	} else {
		out = worker.NewOutcome(rec, req, cluster)
	}
	out.Status, out.CompletedAt = status, s.now.Format(worker.TimeFormat)
	change(out)
	if out.Status == worker.StatusCancelled || out.Status == worker.StatusNotCancelled {
		out.Attempts = max(out.Attempts, 1)
	}
	s.of[offset], s.at[offset] = out, len(s.run.Outcomes)
	s.pass(time.Millisecond)
	s.run.Outcomes = append(s.run.Outcomes, s.record(out, o.epoch, s.next))
	s.next++
}

func (s *scene) record(out *worker.Outcome, epoch int16, offset int64) Record {
	value, headers, err := out.Encode()
	if err != nil {
		s.t.Fatal(err)
	}
	kind, sub := "m", out.SubAccountID
	switch {
	case out.Status == worker.StatusRejected:
		kind, sub = "-", "-"
	case out.BatchID != "":
		kind = "b"
	}
	text := fmt.Sprintf("1 2 %s %d %d %d %08x %s %s %s", out.Source.Topic, out.Source.Partition, out.Source.Offset, out.Record.Timestamp,
		out.Record.Hash, []string{"-", "r", "0", "1"}[out.Answer()], kind, sub)
	rec := Record{Topic: outcomes, Partition: 1, Offset: offset, Timestamp: s.now, Key: out.Key, Value: value, ProducerID: pid, ProducerEpoch: epoch}
	for _, h := range append(headers, worker.Header{Key: ledgerHeader, Value: []byte(text)}) {
		rec.Headers = append(rec.Headers, Header(h))
	}
	return rec
}

// change writes an outcome anew, with a difference.
func (s *scene) change(offset int64, do func(*worker.Outcome)) {
	do(s.of[offset])
	old := &s.run.Outcomes[s.at[offset]]
	now := s.now
	s.now = old.Timestamp
	*old = s.record(s.of[offset], old.ProducerEpoch, old.Offset)
	s.now = now
}

// check decides the scene.
func (s *scene) check() *Report {
	s.run.Logs = nil
	for name, text := range s.logs {
		s.run.Logs = append(s.run.Logs, Log{Name: name, Text: []byte(text.String())})
	}
	return Check(s.run)
}

// expect wants these rules broken, once each, and no other.
func (s *scene) expect(rules ...Rule) {
	s.t.Helper()
	report := s.check()
	want := map[Rule]int{}
	for _, rule := range rules {
		want[rule]++
	}
	for _, rule := range Rules() {
		if report.Total[rule] != want[rule] {
			s.t.Errorf("rule %q is broken %d times, want %d", rule, report.Total[rule], want[rule])
		}
	}
	if s.t.Failed() {
		s.t.Log(report)
	}
}

// rewrite gives a request another value, and everything that depends on it.
func (s *scene) rewrite(offset int64, format string, args ...any) {
	s.run.Requests[offset].Value = fmt.Appendf(nil, format, args...)
	rec := workerRecord(&s.run.Requests[offset])
	s.change(offset, func(o *worker.Outcome) {
		o.Record = rec.ID()
		if req, err := (worker.Parser{DefaultSubAccount: "acme"}).Parse(rec); err == nil {
			o.ScheduledAt = req.ScheduledAt
		}
	})
	for i := range s.run.Commits {
		var m metadata
		if json.Unmarshal([]byte(s.run.Commits[i].Metadata), &m) == nil && m.Last != nil && m.Last.Offset == offset {
			m.Last.Hash = rec.Hash()
			text, _ := json.Marshal(m)
			s.run.Commits[i].Metadata = string(text)
		}
	}
}

// callOf is the nth call for a request.
func (s *scene) callOf(offset int64, n int) *simulator.Call {
	s.t.Helper()
	for i := range s.run.Calls {
		if s.run.Calls[i].TraceParent == traceFor(offset) {
			if n--; n < 0 {
				return &s.run.Calls[i]
			}
		}
	}
	s.t.Fatalf("request %d was not called that often", offset)
	return nil
}

// edit changes what a process logged.
func (s *scene) edit(instance, old, new string) {
	s.t.Helper()
	text := s.logs[instance].String()
	if !strings.Contains(text, old) {
		s.t.Fatalf("the log of %s has no %s:\n%s", instance, old, text)
	}
	s.logs[instance] = &strings.Builder{}
	s.logs[instance].WriteString(strings.Replace(text, old, new, 1))
}

// recommit changes the text of a commit.
func (s *scene) recommit(i int, old, new string) {
	s.t.Helper()
	c := &s.run.Commits[i]
	if !strings.Contains(c.Metadata, old) {
		s.t.Fatalf("commit %d is %s", i, c.Metadata)
	}
	c.Metadata = strings.Replace(c.Metadata, old, new, 1)
}

// outcome is the record of a request's outcome.
func (s *scene) outcome(offset int64) *Record { return &s.run.Outcomes[s.at[offset]] }
