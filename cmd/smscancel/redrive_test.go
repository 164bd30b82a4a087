package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/history"
	"smscancel/worker"
	"smscancel/worker/redrive"
)

// redriven are the records of the request topic that a redrive sent.
func (s *scene) redriven() (all []*worker.Record, values []map[string]any) {
	s.t.Helper()
	records, err := history.Read(s.t.Context(), devRequestTopic, kgo.SeedBrokers(s.addr))
	require.NoError(s.t, err)
	for _, r := range records {
		var value map[string]any
		if json.Unmarshal(r.Value, &value) == nil && value["force"] == true {
			all = append(all, &worker.Record{Topic: r.Topic, Partition: int(r.Partition), Offset: r.Offset, Timestamp: r.Timestamp, Key: r.Key, Value: r.Value})
			values = append(values, value)
		}
	}
	return all, values
}

// mustRedrive runs the command and returns the messages of the requests that it
// sent, or would send.
func (s *scene) mustRedrive(want int, flags ...string) (messages []string, got result) {
	s.t.Helper()
	got = s.run(append(append([]string{"redrive"}, flags...), "--dry-run")...)
	require.Equal(s.t, exitDone, got.code, got.stderr)
	for line := range strings.Lines(got.stdout) {
		req, err := worker.Parser{}.Parse(&worker.Record{Value: []byte(line)})
		require.NoError(s.t, err)
		messages = append(messages, req.ID)
	}
	assert.Contains(s.t, got.stderr, fmt.Sprintf("would send %d requests\n", want))
	_, before := s.redriven()
	got = s.run(append([]string{"redrive"}, flags...)...)
	require.Equal(s.t, exitDone, got.code, got.stderr)
	assert.Contains(s.t, got.stdout, fmt.Sprintf("sent %d requests\n", want))
	_, after := s.redriven()
	assert.Len(s.t, after, len(before)+want, "nothing by the dry run, and each once")
	return messages, got
}

func TestARedrivenRequestSaysAllThatTheFirstOneSaid(t *testing.T) {
	s := newScene(t, 8, 3)
	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	var partition int // one that the partitioner would not choose
	for p := range 8 {
		if rec := s.value(p, "m1", fmt.Sprintf(`{"umid":"M1","subAccountId":"acme_shop","requestId":"mine","campaignId":"autumn","reason":"dropped","requestedAt":"2026-01-01T00:00:00Z","scheduledAt":%q,"metadata":{"order":"7"}}`, future)); p == 5 {
			partition = p
			o := s.settle(rec, worker.StatusFailed, failedWith(worker.KindTimeout, 0, 0, ""))
			s.mustRedrive(1, "--kind", "timeout")
			all, values := s.redriven()
			require.Len(t, all, 1)
			assert.Equal(t, partition, all[0].Partition, "where the original stood")
			assert.Equal(t, "m1", string(all[0].Key))
			assert.Equal(t, map[string]any{"umid": "M1", "subAccountId": "acme_shop", "requestId": "redrive-1-" + o.OutcomeID, "campaignId": "autumn",
				"reason": "dropped", "requestedAt": "2026-01-01T00:00:00Z", "scheduledAt": future, "force": true,
				"metadata": map[string]any{"order": "7", redrive.CountKey: "1", redrive.FirstKey: o.OutcomeID}}, values[0])
		}
	}
}

func TestOnlyTheNewestOutcomeOfAMessageIsRedriven(t *testing.T) {
	s := newScene(t, 2, 2)
	timeout := failedWith(worker.KindTimeout, 0, 0, "")
	for _, m := range []struct {
		id string
		of []worker.Status
	}{
		{"FAILED", []worker.Status{worker.StatusFailed}},
		{"settled-later", []worker.Status{worker.StatusFailed, worker.StatusCancelled}},
		{"failed-twice", []worker.Status{worker.StatusFailed, worker.StatusFailed}},
		{"failed-later", []worker.Status{worker.StatusCancelled, worker.StatusFailed}},
		{"with-a-duplicate", []worker.Status{worker.StatusFailed, worker.StatusDuplicate, worker.StatusRejected}},
		{"cancelled", []worker.Status{worker.StatusCancelled}},
		{"not-cancelled", []worker.Status{worker.StatusNotCancelled}},
	} {
		for i, status := range m.of {
			s.settle(s.request(0, m.id, ""), status, func(o *worker.Outcome) {
				if status == worker.StatusFailed {
					timeout(o)
				}
				if i%2 == 1 { // ids are compared in any case
					o.UMID = strings.ToUpper(o.UMID)
				}
			})
		}
	}
	s.settle(s.request(1, "unclear", ""), worker.StatusNotCancelled, func(o *worker.Outcome) { o.Ambiguous = true })
	s.settle(s.value(1, "b", `{"batchId":"FAILED","subAccountId":"acme_shop"}`), worker.StatusCancelled) // a batch is no message
	got, _ := s.mustRedrive(5)
	assert.Equal(t, []string{"FAILED", "FAILED-TWICE", "FAILED-LATER", "with-a-duplicate", "unclear"}, got)
	got, _ = s.mustRedrive(0, "--status", "failed")
	assert.Empty(t, got, "all are pending")
}

func TestSelectionIsThatOfOutcomes(t *testing.T) {
	s := someOutcomes(t)
	got, _ := s.mustRedrive(1, "--campaign", "c", "--code", "1300")
	assert.Equal(t, []string{"M2"}, got)
	got, _ = s.mustRedrive(1, "--ambiguous")
	assert.Equal(t, []string{"M3"}, got)
	s.settle(s.request(1, "M4", ""), worker.StatusFailed)
	s.settle(s.request(1, "M4", ""), worker.StatusCancelled)
	got, _ = s.mustRedrive(0, "--status", "failed", "--umid", "M4", "--until", s.at.Format(time.RFC3339))
	assert.Empty(t, got, "that it was settled after --until counts")
}

// A second run sends nothing while the requests of the first are pending, and
// nothing when they are settled; one that failed again is redriven anew, until
// the limit is reached. The first outcome stays named.
func TestARedriveIsRepeatedOnlyAsOftenAsAllowed(t *testing.T) {
	s := newScene(t, 2, 2)
	first := s.settle(s.request(1, "M", ""), worker.StatusFailed)
	s.settle(s.request(1, "N", ""), worker.StatusFailed)
	s.commit(1, 2)
	for n := 1; n <= 2; n++ {
		s.mustRedrive(3-n, "--max-redrives", "2")
		_, got := s.mustRedrive(0, "--max-redrives", "2")
		assert.Contains(t, got.stdout, fmt.Sprintf("skipped %d: %s", 3-n, redrive.Pending))
		all, _ := s.redriven()
		for _, rec := range all[len(all)-(3-n):] {
			status := worker.StatusFailed
			if string(rec.Key) == "n" {
				status = worker.StatusCancelled
			}
			o := s.settle(rec, status)
			assert.Equal(t, fmt.Sprint(n), o.Metadata[redrive.CountKey])
			if string(rec.Key) == "m" {
				assert.Equal(t, first.OutcomeID, o.Metadata[redrive.FirstKey])
			}
			s.commit(1, rec.Offset+1)
		}
	}
	_, got := s.mustRedrive(0, "--max-redrives", "2")
	assert.Contains(t, got.stdout, "skipped 1: "+string(redrive.TooMany))
	s.mustRedrive(1, "--max-redrives", "3")
}

// What an earlier run sent is found also behind an open transaction, which keeps
// readers of committed records from it.
func TestPendingIsFoundBehindAnOpenTransaction(t *testing.T) {
	s := newScene(t, 1, 1)
	s.settle(s.request(0, "M", ""), worker.StatusFailed)
	open := s.client(kgo.TransactionalID("tx"))
	require.NoError(t, open.BeginTransaction())
	require.NoError(t, open.ProduceSync(t.Context(), &kgo.Record{Topic: devRequestTopic, Value: []byte("{}")}).FirstErr())
	assert.Contains(t, s.run("redrive").stdout, "sent 1 requests")
	assert.Contains(t, s.run("redrive").stdout, "sent 0 requests")
	require.NoError(t, open.EndTransaction(t.Context(), kgo.TryAbort))
}

func TestWhatIsPastIsSkippedUnlessItsScheduleIsDropped(t *testing.T) {
	s := newScene(t, 1, 1)
	s.settle(s.request(0, "PAST", `,"scheduledAt":"2026-01-01T00:00:00Z"`), worker.StatusExpired)
	_, got := s.mustRedrive(0)
	assert.Contains(t, got.stdout, "skipped 1: its scheduledAt has passed; the first is ")
	assert.Contains(t, got.stdout, "(2026-01-01T00:00:00Z)")
	s.mustRedrive(1, "--without-schedule")
	_, values := s.redriven()
	assert.NotContains(t, values[0], "scheduledAt")
}

func TestWhatCannotBeARequestIsSkippedAndNamed(t *testing.T) {
	s := newScene(t, 1, 1)
	s.settle(s.request(0, "LARGE", fmt.Sprintf(`,"metadata":{"x":%q}`, strings.Repeat("x", 4090))), worker.StatusFailed)
	s.settle(s.request(0, "COUNT", fmt.Sprintf(`,"metadata":{%q:"-1"}`, redrive.CountKey)), worker.StatusFailed)
	other := s.request(0, "OTHER", "")
	other.Topic = "another"
	s.settle(other, worker.StatusFailed, func(o *worker.Outcome) { o.OutcomeID = "\x1b[31mhostile" })
	_, got := s.mustRedrive(0)
	assert.Contains(t, got.stdout, "skipped 2: "+string(redrive.Invalid))
	assert.Contains(t, got.stdout, "skipped 1: "+string(redrive.Foreign)+`; the first is \x1b[31mhostile (another/0)`)
}

func TestManyAreSentInBatches(t *testing.T) {
	s := newScene(t, 3, 2)
	const n = 2*redriveBatch + 10
	var outcomes []*kgo.Record
	for i := range n {
		rec := &worker.Record{Topic: devRequestTopic, Partition: i % 3, Offset: int64(i), Timestamp: s.at, Value: fmt.Appendf(nil, `{"umid":"M%d","subAccountId":"acme_shop"}`, i)}
		o := s.outcomeOf(rec, worker.StatusFailed)
		outcomes = append(outcomes, s.record(o, rec.Partition%s.n))
	}
	require.NoError(t, s.ProduceSync(t.Context(), outcomes...).FirstErr())
	got, _ := s.mustRedrive(n)
	assert.Len(t, got, n)
	s.mustRedrive(0)
}

func TestRedriveFlagsAreChecked(t *testing.T) {
	mustRefuse(t, "", nil, []string{"redrive", "--max-redrives", "0", "--status", "x"}, []string{
		noBroker,
		`--max-redrives: 0: it must be above 0`,
		`--status: "x": use cancelled, not_cancelled, failed, duplicate, expired or rejected`,
	})
}
