package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/checker"
	"smscancel/integration/history"
	"smscancel/worker"
	"smscancel/worker/audit"
)

// verify runs the audit and returns what it found: kind and request.
func (s *scene) verify(args ...string) (result, audit.Report, []string) {
	s.t.Helper()
	got := s.run(append([]string{"outcomes", "--verify", "--format", "json"}, args...)...)
	var report audit.Report
	require.NoError(s.t, json.Unmarshal([]byte(got.stdout), &report), got.stderr)
	var found []string
	for _, f := range report.Findings {
		found = append(found, fmt.Sprintf("%s %s", f.Kind, strings.TrimPrefix(f.Request, devRequestTopic+"/")))
	}
	return got, report, found
}

// settledScene is a scene where each of n requests in each partition has its outcome
// and is committed.
func settledScene(t *testing.T, partitions, ledgers, n int) (*scene, [][]*worker.Record) {
	t.Helper()
	s := newScene(t, partitions, ledgers)
	requests := make([][]*worker.Record, partitions)
	for p := range partitions {
		for i := range n {
			requests[p] = append(requests[p], s.request(p, fmt.Sprintf("M%d-%d", p, i), `,"campaignId":"autumn"`))
			s.settle(requests[p][i], worker.StatusCancelled)
		}
		s.commit(p, int64(n))
	}
	return s, requests
}

// judged are the rules about requests and outcomes (there were no calls) that the
// checker of the fault campaign finds broken, by another reading of the same
// topics.
func (s *scene) judged() map[checker.Rule]int {
	s.t.Helper()
	read := func(topic string) []checker.Record {
		all, err := history.Read(s.t.Context(), topic, kgo.SeedBrokers(s.addr))
		require.NoError(s.t, err)
		return history.Records(all)
	}
	broken := checker.Check(&checker.Run{Requests: read(devRequestTopic), Outcomes: read(devOutcomeTopic), Setup: checker.Setup{
		ClusterID: s.clusterID, Group: "smscancel", OutcomeTopic: devOutcomeTopic, N: s.n, Window: 24 * time.Hour, ClocksDiffer: true, CallsLost: true,
	}}).Total
	delete(broken, checker.Contradiction)
	return broken
}

func TestVerifyFindsNothingWhereEveryRequestHasItsOutcome(t *testing.T) {
	s, _ := settledScene(t, 3, 2, 5)
	for _, value := range []string{"no json", `{"umid":"V"}`, `{"batchId":"B","subAccountId":"acme_shop","umid":"B"}`, "{\"umid\":\"\xff\"}", "{}"} {
		s.settle(s.value(0, "some key", value), worker.StatusRejected)
	}
	s.settle(s.value(1, "b7", `{"batchId":"B7","requestId":"mine","subAccountId":"acme_bank"}`), worker.StatusNotCancelled)
	rec := s.value(2, "n", `{"umid":"N"}`) // its sub-account is the worker's default
	s.settle(rec, worker.StatusCancelled, func(o *worker.Outcome) {
		o.SubAccountID, o.Status, o.Error, o.Key = "the_default", worker.StatusCancelled, nil, []byte("n")
	})
	got, report, found := s.verify()
	assert.Equal(t, exitDone, got.code, got.stderr)
	assert.Empty(t, found)
	assert.EqualValues(t, 22, report.Requests)
	assert.EqualValues(t, 22, report.Outcomes)
	got = s.run("outcomes", "--verify")
	assert.Contains(t, got.stdout, "22 requests, 22 outcomes: 0 lost, 0 pending, 0 second, 0 foreign\n")
}

// Each defect is planted alone. Verify finds it, names it and ends with 1, and
// the checker of the fault campaign finds the same.
func TestVerifyFindsWhatIsPlantedAsTheCheckerDoes(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(s *scene, requests [][]*worker.Record)
		want  []string
		rules []checker.Rule
	}{
		"lost": {func(s *scene, requests [][]*worker.Record) {
			s.request(1, "LOST", "")
			s.commit(1, 6)
		}, []string{"lost 1/5"}, []checker.Rule{checker.Lost}},
		"pending": {func(s *scene, requests [][]*worker.Record) { s.request(1, "NEW", "") },
			[]string{"pending 1/5"}, []checker.Rule{checker.Lost}},
		"second": {func(s *scene, requests [][]*worker.Record) { s.settle(requests[2][3], worker.StatusFailed) },
			[]string{"second 2/3"}, []checker.Rule{checker.Second}},
		"of no offset": {func(s *scene, requests [][]*worker.Record) {
			ghost := *requests[0][0]
			aborted := s.client(kgo.TransactionalID("tx"))
			require.NoError(s.t, aborted.BeginTransaction())
			sent := &kgo.Record{Topic: devRequestTopic, Partition: 0, Key: ghost.Key, Value: ghost.Value}
			require.NoError(s.t, aborted.ProduceSync(s.t.Context(), sent).FirstErr())
			require.NoError(s.t, aborted.EndTransaction(s.t.Context(), kgo.TryAbort))
			ghost.Offset, ghost.Timestamp = sent.Offset, sent.Timestamp
			s.settle(&ghost, worker.StatusCancelled)
			s.settle(s.request(0, "LAST", ""), worker.StatusCancelled)
		}, []string{"foreign 0/5"}, []checker.Rule{checker.Foreign}},
		"of no partition": {func(s *scene, requests [][]*worker.Record) {
			ghost := *requests[0][0]
			ghost.Partition = 7
			s.settle(&ghost, worker.StatusCancelled)
		}, []string{"foreign 7/0"}, []checker.Rule{checker.Foreign}},
		"of no topic": {func(s *scene, requests [][]*worker.Record) {
			ghost := *requests[0][0]
			ghost.Topic = "nowhere"
			s.settle(&ghost, worker.StatusCancelled)
		}, []string{"foreign nowhere"}, []checker.Rule{checker.Foreign}},
		"no outcome at all": {func(s *scene, requests [][]*worker.Record) {
			s.put(&kgo.Record{Topic: devOutcomeTopic, Value: []byte("{}")})
		}, []string{"foreign -"}, []checker.Rule{checker.Foreign}},
		"in another outcome partition": {func(s *scene, requests [][]*worker.Record) {
			rec := s.request(0, "WRONG", "")
			s.put(s.record(s.outcomeOf(rec, worker.StatusCancelled), 1))
		}, []string{"foreign 0/5"}, []checker.Rule{checker.WrongPartition}},
		"with another outcomeId": {func(s *scene, requests [][]*worker.Record) {
			s.settle(s.request(0, "WRONG", ""), worker.StatusCancelled, func(o *worker.Outcome) { o.OutcomeID = "00000000-0000-4000-8000-000000000000" })
		}, []string{"foreign 0/5"}, []checker.Rule{checker.WrongID}},
		"with another key": {func(s *scene, requests [][]*worker.Record) {
			s.settle(s.request(0, "WRONG", ""), worker.StatusCancelled, func(o *worker.Outcome) { o.Key = []byte("other") })
		}, []string{"foreign 0/5"}, []checker.Rule{checker.WrongKey}},
	} {
		t.Run(name, func(t *testing.T) {
			s, requests := settledScene(t, 3, 2, 5)
			c.plant(s, requests)
			got, _, found := s.verify()
			assert.Equal(t, exitFailed, got.code)
			assert.Equal(t, c.want, found)
			assert.Contains(t, got.stderr, "1 "+strings.Fields(c.want[0])[0])
			judged := s.judged()
			for _, rule := range c.rules {
				assert.Equal(t, 1, judged[rule], "the checker: %s", rule)
			}
			assert.Len(t, judged, len(c.rules), slices.Collect(maps.Keys(judged)))
		})
	}
}

// An outcome that names a request but was made of another record settles
// nothing: both sides are named.
func TestVerifyHoldsAnOutcomeAgainstTheRecordThatItNames(t *testing.T) {
	for name, change := range map[string]func(rec *worker.Record){
		"timestamp": func(rec *worker.Record) { rec.Timestamp = rec.Timestamp.Add(time.Millisecond) },
		"content":   func(rec *worker.Record) { rec.Value = append(rec.Value, ' ') },
		"message":   func(rec *worker.Record) { rec.Value = []byte(`{"umid":"OTHER","subAccountId":"acme_shop"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := settledScene(t, 1, 1, 1)
			rec := s.request(0, "M", "")
			s.commit(0, 2)
			change(rec)
			s.settle(rec, worker.StatusCancelled)
			got, _, found := s.verify()
			assert.Equal(t, exitFailed, got.code)
			assert.Equal(t, []string{"lost 0/1", "foreign 0/1"}, found)
		})
	}
}

func TestPendingMayBeAllowed(t *testing.T) {
	s, _ := settledScene(t, 2, 2, 2)
	s.request(0, "NEW", "")
	got, _, found := s.verify("--allow-pending")
	assert.Equal(t, exitDone, got.code, got.stderr)
	assert.Equal(t, []string{"pending 0/2"}, found)
	s.request(1, "LOST", "")
	s.commit(1, 3)
	got, _, found = s.verify("--allow-pending")
	assert.Equal(t, exitFailed, got.code)
	assert.Equal(t, []string{"lost 1/2", "pending 0/2"}, found)
	got, _, found = s.verify("--group", "another")
	assert.Equal(t, exitFailed, got.code)
	assert.Equal(t, []string{"pending 0/2", "pending 1/2"}, found, "it has committed nothing")
}

// Retention deletes one side first. What cannot be known any more is said, and
// is no violation; what can still be known is.
func TestWhatRetentionHasDeletedIsSaidAndIsNoViolation(t *testing.T) {
	deleteBelow := func(s *scene, topic string, partition int32, offset int64) {
		offsets := kadm.Offsets{}
		offsets.AddOffset(topic, partition, offset, -1)
		_, err := kadm.NewClient(s.Client).DeleteRecords(s.t.Context(), offsets)
		require.NoError(s.t, err)
	}
	t.Run("requests", func(t *testing.T) {
		s, requests := settledScene(t, 2, 2, 5)
		deleteBelow(s, devRequestTopic, 0, 3)
		got, report, _ := s.verify()
		assert.Equal(t, exitDone, got.code, got.stderr)
		assert.EqualValues(t, 3, report.RequestsDeleted)
		assert.Contains(t, s.run("outcomes", "--verify").stdout, "3 outcomes are of requests that retention has deleted")
		s.settle(requests[0][1], worker.StatusFailed)
		got, _, found := s.verify()
		assert.Equal(t, exitFailed, got.code)
		assert.Equal(t, []string{"second 0/1"}, found, "a second outcome is one although its request is gone")
	})
	t.Run("outcomes", func(t *testing.T) {
		s, _ := settledScene(t, 2, 2, 5)
		deleteBelow(s, devOutcomeTopic, 0, 3)
		got, report, _ := s.verify()
		assert.Equal(t, exitDone, got.code, got.stderr)
		assert.EqualValues(t, 3, report.OutcomesDeleted)
		assert.Contains(t, s.run("outcomes", "--verify").stdout, "3 requests are older than the outcomes that retention has left")
		s.request(0, "LOST", "")
		s.commit(0, 6)
		got, _, found := s.verify()
		assert.Equal(t, exitFailed, got.code)
		assert.Equal(t, []string{"lost 0/5"}, found, "it is younger than what is left")
	})
	t.Run("all outcomes", func(t *testing.T) {
		s, _ := settledScene(t, 1, 1, 5)
		deleteBelow(s, devOutcomeTopic, 0, 5)
		got, report, _ := s.verify()
		assert.Equal(t, exitDone, got.code, got.stderr)
		assert.EqualValues(t, 5, report.OutcomesDeleted)
	})
}

func TestVerifyListsAFewAndCountsAll(t *testing.T) {
	s, requests := settledScene(t, 1, 1, 1)
	for range audit.MaxListed + 50 {
		s.settle(requests[0][0], worker.StatusFailed)
	}
	_, report, found := s.verify()
	assert.Len(t, found, audit.MaxListed)
	assert.EqualValues(t, audit.MaxListed+50, report.Count[audit.Second])
	assert.Regexp(t, `(?m)^second +and 50 more$`, s.run("outcomes", "--verify").stdout)
}

func TestVerifyReadsEverythingAndSaysSo(t *testing.T) {
	mustRefuse(t, "", nil, []string{"outcomes", "--brokers", "a:1", "--verify", "--status", "failed"}, []string{
		"--verify: true: it reads everything: leave out --follow, --summary and what selects"})
	mustRefuse(t, "", nil, []string{"outcomes", "--brokers", "a:1", "--allow-pending"}, []string{
		"--allow-pending: true: it has no effect without --verify"})
}

// A topic that is read under another name in the same cluster is not taken for
// one that does not exist.
func TestOutcomesOfAnotherRequestTopicAreSaidToBeUnverified(t *testing.T) {
	s, requests := settledScene(t, 1, 1, 1)
	_, err := kadm.NewClient(s.Client).CreateTopic(t.Context(), 1, 1, nil, "bulk")
	require.NoError(t, err)
	other := *requests[0][0]
	other.Topic = "bulk"
	s.settle(&other, worker.StatusCancelled)
	got, _, found := s.verify()
	assert.Equal(t, exitDone, got.code, got.stderr)
	assert.Empty(t, found)
	assert.Contains(t, s.run("outcomes", "--verify").stdout, "1 outcomes are of topic bulk and were not verified: name it with --request-topic")
}
