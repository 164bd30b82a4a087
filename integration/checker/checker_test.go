package checker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"smscancel/integration/simulator"
	"smscancel/worker"
)

// The owners of the valid run: b takes over when a has died.
var a, b = owner{"host-a", 0}, owner{"host-b", 1}

// The requests of the valid run, by what becomes of them.
const (
	plain       = iota // cancelled
	repeated           // a duplicate of plain
	doubtful           // 500, then 200 with 0: ambiguous
	missing            // 404
	waiting            // a duplicate of missing
	late5              // expired
	broken             // rejected
	malformed          // 400
	malformed2         // a duplicate of malformed
	batch              // a batch of 7
	forced             // calls again for plain's message
	afterForced        // a duplicate of forced
	died               // called by a, which died; b gets 200 with 0
	leased             // in a's lease, 404 to b
	capped             // behind the cap of the inherited lease, 403
	untried            // the API is not reached before its deadline
)

func umid(n int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", n) }

func count(n int) func(*worker.Outcome) {
	return func(o *worker.Outcome) { o.CancelledCount = &n }
}

func copyOf(s *scene, offset int64) func(*worker.Outcome) {
	return func(o *worker.Outcome) {
		from := s.of[offset]
		o.DuplicateOf, o.CancelledCount, o.Error, o.Ambiguous = from.OutcomeID, from.CancelledCount, from.Error, from.Ambiguous
	}
}

func failed(attempts int, answer simulator.Call) func(*worker.Outcome) {
	return func(o *worker.Outcome) { o.Attempts, o.Error = attempts, errorFrom(answer) }
}

// validRun has every kind of outcome, a crash with calls in hand, and a
// takeover by the lease that was left.
func validRun(t *testing.T) *scene {
	s := newScene(t)
	s.take(a, 0, -1, map[string]any{"offset": -1})
	s.commit(a, 0, 1000)
	s.cancel(umid(0))
	s.cancel(umid(0))
	s.cancel(umid(2))
	s.cancel(umid(3))
	s.cancel(umid(3))
	s.request(umid(5), `{"umid":%q,"scheduledAt":%q}`, umid(5), s.now.Format(time.RFC3339))
	s.request(umid(6), `{"umid":`)
	s.cancel("no-uuid")
	s.cancel("no-uuid")
	s.request(umid(9), `{"batchId":%q,"campaignId":"spring","metadata":{"order":"A-1"}}`, umid(9))
	s.request(umid(0), `{"umid":%q,"force":true}`, umid(0))
	s.cancel(umid(0))
	s.cancel(umid(12))
	s.cancel(umid(13))

	s.call(a, plain, counted(1))
	s.settle(a, plain, worker.StatusCancelled, count(1))
	s.settle(a, repeated, worker.StatusDuplicate, copyOf(s, plain))
	s.call(a, doubtful, simulator.Call{Status: 500, Code: 2000, Effect: 1})
	s.call(a, doubtful, counted(0))
	s.settle(a, doubtful, worker.StatusNotCancelled, func(o *worker.Outcome) { count(0)(o); o.Attempts, o.Ambiguous = 2, true })
	s.call(a, missing, refused(404, 1300))
	s.settle(a, missing, worker.StatusFailed, failed(1, refused(404, 1300)))
	s.settle(a, waiting, worker.StatusDuplicate, copyOf(s, missing))
	s.settle(a, late5, worker.StatusExpired, func(*worker.Outcome) {})
	s.settle(a, broken, worker.StatusRejected, func(*worker.Outcome) {})
	s.call(a, malformed, refused(400, 1000))
	s.settle(a, malformed, worker.StatusFailed, failed(1, refused(400, 1000)))
	s.settle(a, malformed2, worker.StatusDuplicate, copyOf(s, malformed))
	s.call(a, batch, counted(7))
	s.settle(a, batch, worker.StatusCancelled, count(7))
	s.call(a, forced, counted(0))
	s.settle(a, forced, worker.StatusNotCancelled, count(0))
	s.settle(a, afterForced, worker.StatusDuplicate, copyOf(s, forced))
	s.commit(a, died, 1012)
	s.call(a, died, counted(1), true)

	s.pass(15 * time.Second)
	s.take(b, died, 1012, map[string]any{"offset": died, "producerId": pid, "epoch": 0, "lease": 1012})
	s.commit(b, died, 1012)
	s.call(b, died, counted(0))
	s.settle(b, died, worker.StatusNotCancelled, func(o *worker.Outcome) { count(0)(o); o.Ambiguous = true })
	s.call(b, leased, refused(404, 1300))
	s.settle(b, leased, worker.StatusFailed, func(o *worker.Outcome) { failed(1, refused(404, 1300))(o); o.Ambiguous = true })
	s.pass(11 * time.Second)
	s.log(b, "debug", saysCapped, map[string]any{"lease": leased, "cappedAt": s.now.Format(worker.TimeFormat)})
	s.cancel(umid(14))
	s.request(umid(15), `{"umid":%q,"scheduledAt":%q}`, umid(15), s.now.Add(time.Second).Format(time.RFC3339))
	s.commit(b, capped, 1014)
	s.call(b, capped, refused(403, 1201))
	s.settle(b, capped, worker.StatusFailed, failed(1, refused(403, 1201)))
	s.log(b, "debug", saysAttempt, map[string]any{"offset": untried, "startedAt": s.now.Format(worker.TimeFormat), "took": 1, "httpStatus": 0, "kind": "network"})
	s.pass(2*time.Second).settle(b, untried, worker.StatusExpired, func(o *worker.Outcome) {
		o.Attempts, o.Error = 1, &worker.Error{Kind: worker.KindNetwork, Message: "connection refused"}
	})
	s.commit(b, untried+1, leased)
	return s
}

func TestAValidRunBreaksNoRule(t *testing.T) { validRun(t).expect() }

// breakage breaks one thing in the valid run.
type breakage struct {
	name   string
	breaks func(*scene)
	rules  []Rule // that must notice, each once, and no other
}

// lastCommit is what an owner after b finds.
var lastCommit = map[string]any{"offset": untried + 1, "producerId": pid, "epoch": b.epoch, "lease": leased}

func expectEach(t *testing.T, all []breakage) {
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			s := validRun(t)
			c.breaks(s)
			s.expect(c.rules...)
		})
	}
}

func TestEveryRequestNeedsOneOutcomeAndEveryOutcomeARequest(t *testing.T) {
	expectEach(t, []breakage{
		{"gone", func(s *scene) {
			i := s.at[untried]
			s.run.Outcomes = append(s.run.Outcomes[:i:i], s.run.Outcomes[i+1:]...)
		}, []Rule{Lost}},
		{"there twice", func(s *scene) {
			rec := *s.outcome(capped)
			rec.Offset, rec.Timestamp = s.next, s.now
			s.run.Outcomes = append(s.run.Outcomes, rec)
		}, []Rule{Second}},
		{"of a request that was never visible", func(s *scene) {
			rec := s.outcome(untried)
			rec.Value = []byte(strings.Replace(string(rec.Value), `"offset":15`, `"offset":99`, 1))
		}, []Rule{Foreign, Lost}},
		{"no outcome at all", func(s *scene) {
			s.run.Outcomes = append(s.run.Outcomes, Record{Topic: outcomes, Partition: 1, Offset: s.next, Value: []byte("text"), ProducerID: pid, ProducerEpoch: 1})
		}, []Rule{Foreign}},
		{"moved behind those of the next owner", func(s *scene) {
			all, i := s.run.Outcomes, s.at[afterForced]
			all[i], all[i+1] = all[i+1], all[i]
			all[i].Offset, all[i+1].Offset = all[i+1].Offset, all[i].Offset
		}, []Rule{StaleWriter}},
		{"by an owner that nobody knows", func(s *scene) {
			s.settle(owner{"host-c", 7}, s.request("x", "{"), worker.StatusRejected, func(*worker.Outcome) {})
		}, []Rule{Unowned}},
		{"by a producer without a fence", func(s *scene) { s.outcome(broken).ProducerID = -1 }, []Rule{Unowned}},
	})
}

func TestRequestsBelowTheLogsStartMayBeLost(t *testing.T) {
	s := validRun(t)
	i := s.at[untried]
	s.run.Outcomes = append(s.run.Outcomes[:i:i], s.run.Outcomes[i+1:]...)
	s.run.Setup.LostBelow = map[string]map[int]int64{requests: {1: untried + 1}}
	s.expect()
}
