package checker

import (
	"encoding/base64"
	"testing"

	"smscancel/worker"
)

func TestAnOutcomeHasTheFormThatIsPublished(t *testing.T) {
	expectEach(t, []breakage{
		{"another partition", func(s *scene) { s.outcome(capped).Partition = 0 }, []Rule{WrongPartition}},
		{"another key", func(s *scene) { s.outcome(capped).Key = []byte("x") }, []Rule{WrongKey}},
		{"a rejected record's key", func(s *scene) { s.outcome(broken).Key = nil }, []Rule{WrongKey}},
		{"another id", func(s *scene) { s.change(capped, func(o *worker.Outcome) { o.OutcomeID = umid(79) }) }, []Rule{WrongID}},
		{"another requestId", func(s *scene) { s.change(capped, func(o *worker.Outcome) { o.RequestID = "x" }) }, []Rule{WrongEcho}},
		{"another campaign", func(s *scene) { s.change(batch, func(o *worker.Outcome) { o.CampaignID = "" }) }, []Rule{WrongEcho}},
		{"no metadata", func(s *scene) { s.change(batch, func(o *worker.Outcome) { o.Metadata = nil }) }, []Rule{WrongEcho}},
		{"another trace", func(s *scene) { s.change(capped, func(o *worker.Outcome) { o.TraceParent = traceFor(99) }) }, []Rule{WrongEcho}},
		{"another timestamp", func(s *scene) {
			s.change(capped, func(o *worker.Outcome) { o.Source.Timestamp = began.Format(worker.TimeFormat) })
		}, []Rule{WrongEcho}},
		{"the rejected value is lost", func(s *scene) { s.change(broken, func(o *worker.Outcome) { o.Source.Value = nil }) }, []Rule{WrongEcho}},
		{"another header for a replay", func(s *scene) {
			all := s.outcome(capped).Headers
			all[len(all)-1].Value = []byte("1 2")
		}, []Rule{WrongHeader}},
	})
}

func TestTheKeyStandsNowhere(t *testing.T) {
	expectEach(t, []breakage{
		{"in a log", func(s *scene) { s.logs[a.instance].WriteString("panic: " + canary + "\n") }, []Rule{Secret}},
		{"in an error, in base64", func(s *scene) {
			s.change(capped, func(o *worker.Outcome) { o.Error.Message = base64.StdEncoding.EncodeToString([]byte("x: " + canary)) })
		}, []Rule{Secret}},
		{"in a header", func(s *scene) {
			s.outcome(plain).Headers = append(s.outcome(plain).Headers, Header{"x", []byte(canary)})
		}, []Rule{Secret}},
		{"in a commit", func(s *scene) { s.recommit(4, `"ledger"`, `"note":"`+canary+`","ledger"`) }, []Rule{Secret}},
		{"in a metric, percent-encoded", func(s *scene) {
			s.run.Outputs = []Output{{"metrics", []byte("key=%63%61%6e%61%72%79%2d%34%66%31%64%2d%6b%65%79")}}
		}, []Rule{Secret}},
	})
}
