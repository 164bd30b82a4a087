package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/cmd/smscancel/outcomes"
	"smscancel/worker"
)

// someOutcomes is a scene with one outcome of each of some kinds, in this order.
func someOutcomes(t *testing.T) *scene {
	s := newScene(t, 3, 2)
	s.settle(s.request(0, "M1", `,"campaignId":"a,b"`), worker.StatusCancelled)
	s.settle(s.request(1, "M2", `,"campaignId":"c"`), worker.StatusFailed, failedWith(worker.KindNotFound, 404, 1300, "no such message"))
	s.settle(s.request(2, "M3", `,"campaignId":"c"`), worker.StatusFailed, failedWith(worker.KindTimeout, 0, 0, ""),
		func(o *worker.Outcome) { o.Error.Code, o.Ambiguous = nil, true })
	s.settle(s.value(0, "B1", `{"batchId":"B1","subAccountId":"acme_bank"}`), worker.StatusExpired)
	return s
}

// ids are the messages of a JSON list, in its order.
func ids(t *testing.T, list string) (all []string) {
	t.Helper()
	for line := range strings.Lines(list) {
		o, err := worker.DecodeOutcome([]byte(line))
		require.NoError(t, err, line)
		all = append(all, o.UMID+o.BatchID)
	}
	return all
}

func TestOutcomesAreListedInTheOrderOfTheirTimeAndSelected(t *testing.T) {
	s := someOutcomes(t)
	for flags, want := range map[string]string{
		"":                                     "M1 M2 M3 B1",
		"--status failed":                      "M2 M3",
		"--status failed,expired":              "M2 M3 B1",
		"--kind timeout":                       "M3",
		"--code 1300":                          "M2",
		"--campaign a,b":                       "M1",
		"--campaign c --campaign a,b":          "M1 M2 M3",
		"--campaign c --kind not_found":        "M2",
		"--umid m1,b1":                         "M1 B1",
		"--ambiguous":                          "M3",
		"--until 58m":                          "M1 M2 M3 B1",
		"--until 2h":                           "",
		"--since 2h":                           "M1 M2 M3 B1",
		"--since 1s":                           "",
		"--status cancelled --campaign c":      "",
		"--since " + s.at.Format(time.RFC3339): "B1",
	} {
		got := s.run(strings.Fields("outcomes --format json " + flags)...)
		require.Equal(t, exitDone, got.code, got.stderr)
		assert.Equal(t, want, strings.Join(ids(t, got.stdout), " "), flags)
	}
}

func TestTableShowsWhatAPersonNeeds(t *testing.T) {
	got := someOutcomes(t).run("outcomes")
	require.Equal(t, exitDone, got.code, got.stderr)
	var lines [][]string
	for line := range strings.Lines(got.stdout) {
		lines = append(lines, strings.Fields(line)[1:])
	}
	assert.Equal(t, [][]string{
		{"STATUS", "MESSAGE", "SUB-ACCOUNT", "CAMPAIGN", "DETAIL"},
		{"cancelled", "M1", "acme_shop", "a,b"},
		{"failed", "M2", "acme_shop", "c", "not_found", "404/1300:", "no", "such", "message"},
		{"failed", "M3", "acme_shop", "c", "ambiguous,", "timeout"},
		{"expired", "batch", "B1", "acme_bank", "-"},
	}, lines)
}

// What stands in an outcome may come from anywhere: nothing of it commands the
// terminal, breaks a line or begins a formula, and the JSON keeps its meaning.
func TestHostileTextsAreHarmlessInEveryFormat(t *testing.T) {
	const hostile = "=cmd|' /C calc'!A0\x1b[2J\x1b]0;owned\a\r\n\u009b31m\u202egnp.\U000e0041\x7f"
	s := newScene(t, 1, 1)
	rec := s.request(0, "M1", "")
	want := s.settle(rec, worker.StatusFailed, failedWith(worker.KindServerError, 500, 2000, hostile), func(o *worker.Outcome) {
		o.CampaignID, o.Reason, o.SubAccountID = "+1+1", "@SUM(A1)", "-2"
		o.Metadata = map[string]string{"x": hostile}
	})
	for _, format := range outcomes.Formats() {
		got := s.run("outcomes", "--format", format)
		require.Equal(t, exitDone, got.code, got.stderr)
		assert.NotRegexp(t, `[^\P{C}\n]`, got.stdout, "%s: only line ends", format)
		assert.Equal(t, map[string]int{"table": 2, "json": 1, "csv": 2}[format], strings.Count(got.stdout, "\n"), format)
	}
	decoded, err := worker.DecodeOutcome([]byte(s.run("outcomes", "--format", "json").stdout))
	require.NoError(t, err)
	assert.Equal(t, want.Error, decoded.Error)
	assert.Equal(t, want.Metadata, decoded.Metadata)
	rows, err := csv.NewReader(strings.NewReader(s.run("outcomes", "--format", "csv").stdout)).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 2)
	for i, cell := range rows[1] {
		assert.NotRegexp(t, `^[=+\-@]`, cell, rows[0][i])
	}
	assert.Contains(t, rows[1], "'@SUM(A1)")
}

func TestRecordsThatAreNoOutcomesAreNamedAndCounted(t *testing.T) {
	s := newScene(t, 1, 1)
	s.settle(s.request(0, "M1", ""), worker.StatusCancelled)
	for _, value := range [][]byte{nil, []byte("{}"), []byte("no\x1b[2J json"), []byte(`[1]`), []byte(`{"status":7}`), {0xff, 0xfe}} {
		s.put(&kgo.Record{Topic: devOutcomeTopic, Value: value})
	}
	for _, flags := range [][]string{nil, {"--summary"}, {"--status", "failed"}} {
		got := s.run(append([]string{"outcomes"}, flags...)...)
		assert.Equal(t, exitDone, got.code)
		assert.Contains(t, got.stderr, "6 records are no outcomes, the first is sms.cancel.outcomes/0 at offset 1: ")
		assert.NotContains(t, got.stderr, "\x1b")
	}
}

func TestFollowShowsWhatComesUntilItIsStopped(t *testing.T) {
	s := someOutcomes(t)
	for _, c := range []struct {
		flags string
		old   bool
	}{{"outcomes --follow", false}, {"outcomes --follow --since 2h", true}} {
		tail := start(t, nil, append(strings.Fields(c.flags), "--format", "json", "--brokers", s.addr)...)
		// Until it has begun it may not see what is sent: it is sent until it is seen.
		seen := make(chan struct{})
		go func() {
			defer close(seen)
			tail.await(&tail.stdout, `"umid":"NEW"`)
		}()
		rec := s.request(0, "NEW", "")
		for waiting := true; waiting; {
			s.settle(rec, worker.StatusCancelled)
			select {
			case <-seen:
				waiting = false
			default:
			}
		}
		assert.Equal(t, exitDone, tail.end(), tail.stderr.String())
		assert.Equal(t, c.old, strings.Contains(tail.stdout.String(), `"umid":"M1"`), c.flags)
	}
}

func TestAClosedPipeEndsTheListQuietly(t *testing.T) {
	s := someOutcomes(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	r.Close()
	defer w.Close()
	var stderr screen
	code := run(t.Context(), environment{args: []string{"outcomes", "--brokers", s.addr}, lookup: lookupIn(nil), stdout: w, stderr: &stderr})
	assert.Equal(t, exitDone, code)
	assert.Empty(t, stderr.String())
}

func TestSummaryCountsAndTellsHowFarACampaignIs(t *testing.T) {
	s := newScene(t, 2, 2)
	s.at = time.Now().Add(-20 * time.Second)
	for i := range 10 {
		rec := s.request(i%2, fmt.Sprint("M", i), `,"campaignId":"autumn"`)
		if i < 4 {
			s.settle(rec, []worker.Status{worker.StatusCancelled, worker.StatusNotCancelled}[i%2])
		}
	}
	s.value(0, "", `{"campaignId":"autumn"}`) // invalid: it will be rejected, which is an outcome too
	s.settle(s.request(0, "X", `,"campaignId":"other"`), worker.StatusCancelled)
	aborted := s.client(kgo.TransactionalID("tx"))
	require.NoError(t, aborted.BeginTransaction())
	require.NoError(t, aborted.ProduceSync(t.Context(), &kgo.Record{Topic: devRequestTopic, Value: []byte(`{"umid":"A","subAccountId":"acme_shop","campaignId":"autumn"}`)}).FirstErr())
	require.NoError(t, aborted.EndTransaction(t.Context(), kgo.TryAbort))

	got := s.run("outcomes", "--summary", "--campaign", "autumn", "--status", "cancelled")
	require.Equal(t, exitDone, got.code, got.stderr)
	assert.Equal(t, "2", counts(got.stdout)["cancelled"])
	assert.Equal(t, "0", counts(got.stdout)["not_cancelled"], "not selected")
	assert.Regexp(t, `(?m)^autumn +11 +4 +7 +20\S+Z \(in \d+\S*\)$`, got.stdout)
	assert.Regexp(t, `(?m)^first \S+, last \S+, 0.5/s; from request to outcome p50 1\S*s, p99 1\S*s$`, got.stdout)

	got = s.run("outcomes", "--summary", "--format", "json", "--campaign", "autumn", "--since", "1ms")
	require.Equal(t, exitDone, got.code, got.stderr)
	var report outcomes.Report
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &report))
	assert.Zero(t, report.Total, "none since")
	require.Len(t, report.Campaigns, 1)
	assert.EqualValues(t, 7, report.Campaigns[0].Remaining, "progress has no --since")
}

func TestOutcomesFlagsAreChecked(t *testing.T) {
	mustRefuse(t, "", nil, []string{"outcomes", "--brokers", "a:1", "--status", "failed,lost", "--kind", "x", "--code", "y", "--since", "tomorrow",
		"--until", "-2h", "--format", "xml", "--outcome-topic", "a b"}, []string{
		`--outcome-topic: "a b": a topic's name is 1 to 249 of A-Z a-z 0-9 . _ -`,
		`--format: "xml": use table, json or csv`,
		`--status: "lost": use cancelled, not_cancelled, failed, duplicate, expired or rejected`,
		`--kind: "x": use invalid_request, unauthorized, forbidden, not_found, upgrade_required, rate_limited, server_error, client_error, bad_response, timeout, network, tls or withdrawn`,
		`--code: "y": it is no whole number`,
		`--since: "tomorrow": write a time like 2026-01-31T08:00:00Z, or how long ago, like 90s, 15m or 2h`,
		`--until: "-2h": write a time like 2026-01-31T08:00:00Z, or how long ago, like 90s, 15m or 2h`,
	})
	mustRefuse(t, "", nil, []string{"outcomes", "--summary", "--format", "csv", "--follow", "--until", "1h", "--since", "30m"}, []string{
		noBroker,
		`--format: "csv": a summary, or what --verify finds, is shown as table or json`,
		`--until: "1h": it has no effect with --follow, which goes on until Ctrl-C`,
		`--since: "30m": it must be before --until (1h)`,
	})
}

func TestATopicThatDoesNotExistIsNamed(t *testing.T) {
	s := newScene(t, 1, 1)
	got := s.run("outcomes", "--outcome-topic", "no-such-topic")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.stderr, "no-such-topic")
}

// The worker writes outcomes outside of transactions: somebody else's that stays
// open hides none of them.
func TestAnOpenTransactionInTheOutcomeTopicHidesNothing(t *testing.T) {
	s := newScene(t, 1, 1)
	open := s.client(kgo.TransactionalID("tx"))
	require.NoError(t, open.BeginTransaction())
	require.NoError(t, open.ProduceSync(t.Context(), &kgo.Record{Topic: devOutcomeTopic, Value: []byte("{}")}).FirstErr())
	s.settle(s.request(0, "BEHIND", ""), worker.StatusCancelled)
	assert.Equal(t, []string{"BEHIND"}, ids(t, s.run("outcomes", "--format", "json").stdout))
	require.NoError(t, open.EndTransaction(t.Context(), kgo.TryAbort))
}
