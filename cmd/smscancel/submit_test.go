package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/consumer/records"
	"smscancel/integration/broker"
)

// submitBench is an embedded broker with the default topics, and no worker.
type submitBench struct {
	t      *testing.T
	broker *broker.Broker
	client *kafka.Client
	state  string
}

func newSubmitBench(t *testing.T) *submitBench {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	require.NoError(t, err)
	transport := &kafka.Transport{}
	t.Cleanup(func() { transport.CloseIdleConnections(); b.Close() })
	for _, topic := range []string{devRequestTopic, devOutcomeTopic} {
		require.NoError(t, b.Cluster.CreateTopic(topic, 2, nil))
	}
	return &submitBench{t, b, &kafka.Client{Addr: kafka.TCP(b.Addr()), Transport: transport}, t.TempDir()}
}

func (b *submitBench) submit(args ...string) result {
	b.t.Helper()
	return smscancel(b.t, nil, append([]string{"submit", "--brokers", b.broker.Addr(), "--state-dir", b.state}, args...)...)
}

// sent is how many requests stand in the topic.
func (b *submitBench) sent() (n int64) {
	b.t.Helper()
	for p := range 2 {
		end, err := (&records.Client{Transport: b.client.Transport, Addr: b.client.Addr}).Latest(b.t.Context(), devRequestTopic, p)
		require.NoError(b.t, err)
		n += end
	}
	return n
}

// refuseNext refuses the first batch after one that is in the journal.
func (b *submitBench) refuseNext() {
	b.broker.Cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Count: 1, Err: kerr.TopicAuthorizationFailed,
		When: func(kmsg.Request) bool {
			journals, _ := filepath.Glob(filepath.Join(b.state, "*.journal"))
			for _, path := range journals {
				if content, _ := os.ReadFile(path); strings.Count(string(content), "\n") >= 2 {
					return true
				}
			}
			return false
		}})
}

// interrupted submits 3 rows and is interrupted while it waits for their outcomes.
func (b *submitBench) interrupted() (file string) {
	b.t.Helper()
	file = fileWith(b.t, "rows.csv", rowsOf(3, 0))
	waiting := start(b.t, nil, "submit", file, "--brokers", b.broker.Addr(), "--wait", "--state-dir", b.state)
	waiting.await(&waiting.stderr, `outcomes 0 of 3`)
	require.Equal(b.t, exitFailed, waiting.end())
	require.Equal(b.t, int64(3), b.sent())
	return file
}

// rowsOf is a CSV file of n rows; each in every one of bad has no valid umid.
func rowsOf(n, bad int) string {
	var text strings.Builder
	text.WriteString("subAccountId,umid,metadata.order\n")
	for i := range n {
		umid := fmt.Sprintf("u-%d", i)
		if bad > 0 && i%bad == 0 {
			umid = "no umid"
		}
		fmt.Fprintf(&text, "acme_shop,%s,A-%d\n", umid, i)
	}
	return text.String()
}

const badUMID = "umid: must be 1 to 64 of A-Z a-z 0-9 - . _ ~, and neither . nor .."

func TestNothingIsSentUnlessEveryRowIsValid(t *testing.T) {
	b := newSubmitBench(t)
	good, bad := fileWith(t, "good.csv", rowsOf(10, 0)), fileWith(t, "bad.csv", rowsOf(50, 2))
	got := b.submit(good, bad)
	var want strings.Builder
	for i := range maxFaults {
		fmt.Fprintf(&want, "%s:%d: %s\n", bad, 2*i+2, badUMID)
	}
	want.WriteString("and 5 rows more\nsmscancel: 25 of 60 rows are not valid, nothing was sent: mend them, or send the others with --skip-invalid\n")
	assert.Equal(t, result{code: exitFailed, stderr: want.String()}, got)
	assert.Zero(t, b.sent())

	got = b.submit(good, bad, "--skip-invalid")
	assert.Equal(t, exitDone, got.code, got.stderr)
	assert.Equal(t, "submitted 35 requests to sms.cancel.requests; 25 rows were left out\n", got.stdout)
	assert.Contains(t, got.stderr, "and 5 rows more\nsubmitted 35 of 35 (100 %)\n")
	assert.Equal(t, int64(35), b.sent())
	left, err := os.ReadDir(b.state)
	require.NoError(t, err)
	assert.Empty(t, left, "a journal of what is over")
}

func TestADryRunNeedsNoBrokerAndSendsNothing(t *testing.T) {
	file := fileWith(t, "rows.csv", rowsOf(3, 0))
	assert.Equal(t, result{code: exitDone, stdout: "3 rows are valid, 0 are not; nothing was sent\n"}, smscancel(t, nil, "submit", file, "--dry-run"))
	b := newSubmitBench(t)
	assert.Equal(t, exitDone, b.submit(file, "--dry-run").code)
	assert.Zero(t, b.sent())
	got := smscancel(t, nil, "submit", fileWith(t, "bad.csv", rowsOf(3, 2)), "--dry-run", "--skip-invalid")
	assert.Equal(t, exitDone, got.code)
	assert.Equal(t, "1 rows are valid, 2 are not; nothing was sent\n", got.stdout)
	assert.Contains(t, got.stderr, "bad.csv:4: "+badUMID)
}

func TestStandardInputIsSubmittedRowByRow(t *testing.T) {
	b := newSubmitBench(t)
	run := func(input string, args ...string) result {
		var stdout, stderr screen
		code := run(t.Context(), environment{args: append([]string{"submit", "--brokers", b.broker.Addr(), "-"}, args...), lookup: lookupIn(nil),
			stdin: strings.NewReader(input), stdout: &stdout, stderr: &stderr})
		return result{code, stdout.String(), stderr.String()}
	}
	got := run(rowsOf(5, 0), "--campaign", "autumn")
	assert.Equal(t, result{exitDone, "submitted 5 requests to sms.cancel.requests\n", "submitted 5\n"}, got)
	got = run("umid,subAccountId\nA,acme_shop\nB,?\nC,acme_shop\n")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.stderr, "smscancel: stdin:3: subAccountId: must be 3 to 50 of A-Z a-z 0-9 - . _ &; 1 rows were sent: they will be sent again if the same rows are submitted again\n")
	assert.Equal(t, int64(6), b.sent())
	got = run(rowsOf(3, 3), "--skip-invalid")
	assert.Equal(t, exitDone, got.code)
	assert.Contains(t, got.stderr, "stdin:2: "+badUMID)
	assert.Equal(t, exitDone, run(rowsOf(3, 0), "--dry-run").code)
	assert.Equal(t, int64(8), b.sent())
}

// Fault: the broker refuses a batch in the middle. Promise: the run says how far
// it came and how to go on; the same command goes on there and sends the rest.
func TestTheSameCommandGoesOnAfterAnInterruption(t *testing.T) {
	const total = 21_000 // a batch has 20,000 at most
	b := newSubmitBench(t)
	file := fileWith(t, "rows.csv", rowsOf(total, 0))
	b.refuseNext()
	got := b.submit(file)
	require.Equal(t, exitFailed, got.code)
	require.Regexp(t, `Topic Authorization Failed.*; [0-9,]+ rows were sent: run the same command again to go on behind them\n$`, got.stderr)
	got = b.submit(file)
	assert.Equal(t, exitDone, got.code, got.stderr)
	assert.Regexp(t, `^going on after [0-9,]+ of 21,000 rows, which a run begun at .* has sent\n`, got.stderr)
	assert.Regexp(t, `^submitted [0-9,]+ requests to sms.cancel.requests, [0-9,]+ before\n$`, got.stdout)
	assert.GreaterOrEqual(t, b.sent(), int64(total))
	assert.Less(t, b.sent(), int64(total+20_000), "at most one batch goes twice")
}

func TestRestartSendsEveryRowAgain(t *testing.T) {
	b := newSubmitBench(t)
	got := b.submit(b.interrupted(), "--restart")
	assert.Equal(t, exitDone, got.code, got.stderr)
	assert.Equal(t, "submitted 3 requests to sms.cancel.requests\n", got.stdout)
	assert.Equal(t, int64(6), b.sent())
}

// Fault: progress cannot be kept. Promise: that is said, and all is sent.
func TestWithoutAPlaceForItsProgressSubmitStillWorks(t *testing.T) {
	b := newSubmitBench(t)
	b.state = filepath.Join(fileWith(t, "a file", ""), "below it")
	got := b.submit(fileWith(t, "rows.csv", rowsOf(3, 0)))
	assert.Equal(t, exitDone, got.code)
	assert.Contains(t, got.stderr, "progress cannot be kept in "+b.state+": not a directory: if this run is interrupted, the next one sends every row again; name another --state-dir\n")
	assert.Equal(t, int64(3), b.sent())
}

// Fault: the request topic was deleted and created again after an interruption.
// Promise: every row is sent, not only the rest.
func TestARecreatedTopicGetsEveryRow(t *testing.T) {
	b := newSubmitBench(t)
	file := b.interrupted()
	deleted, err := b.client.DeleteTopics(t.Context(), &kafka.DeleteTopicsRequest{Topics: []string{devRequestTopic}})
	require.NoError(t, err)
	require.NoError(t, deleted.Errors[devRequestTopic])
	require.NoError(t, b.broker.Cluster.CreateTopic(devRequestTopic, 2, nil))
	got := b.submit(file)
	assert.Equal(t, exitDone, got.code, got.stderr)
	assert.Contains(t, got.stderr, "is not the topic any more that an interrupted run has sent to")
	assert.Equal(t, int64(3), b.sent())
}

func TestSubmitSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	b := newSubmitBench(t)
	file := fileWith(t, "rows.csv", rowsOf(3, 0))
	tooLong := fileWith(t, "long.ndjson", `{"umid":"A","subAccountId":"acme_shop","x":"`+strings.Repeat("x", 70_000)+`"}`)
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no broker":      {[]string{file, "--brokers", "127.0.0.1:1"}, exitFailed, "no broker of 127.0.0.1:1 could be used: .*connection refused: check --brokers and the --kafka flags"},
		"no topic":       {[]string{file, "--request-topic", "nope"}, exitFailed, "topic nope: .*: it is not on 127.0.0.1:[0-9]+, or may not be seen: create it with smscancel topics, or name another one"},
		"no outcomes":    {[]string{file, "--outcome-topic", "nope", "--wait"}, exitFailed, "topic nope: "},
		"row too long":   {[]string{tooLong}, exitFailed, `long.ndjson:1: value: .*\n.*1 of 1 rows are not valid`},
		"wrong header":   {[]string{fileWith(t, "h.csv", "id,subAccountId\n")}, exitFailed, `h.csv: line 1: unknown column "id"`},
		"no file":        {nil, exitUsage, "file: name the file to submit, or - for standard input"},
		"missing file":   {[]string{"/no/such,file.csv"}, exitUsage, "file: stat /no/such,file.csv: no such file or directory"},
		"directory":      {[]string{t.TempDir()}, exitUsage, "is a directory: name a file"},
		"stdin twice":    {[]string{"-", "-"}, exitUsage, "file: - stands twice"},
		"several topics": {[]string{file, "--request-topic", "a,b"}, exitUsage, `--request-topic: \[a b\]: name the one that the requests go to`},
		"sub-account":    {[]string{file, "--default-sub-account", "?"}, exitUsage, `--default-sub-account: "\?": a sub-account is`},
		"dry wait":       {[]string{file, "--dry-run", "--wait"}, exitUsage, "--wait: true: with --dry-run there are no outcomes to wait for"},
	} {
		t.Run(name, func(t *testing.T) {
			args := c.args
			if name == "no broker" {
				args = append([]string{"submit"}, args...)
			} else {
				args = append([]string{"submit", "--brokers", b.broker.Addr(), "--state-dir", b.state}, args...)
			}
			var stdout, stderr screen
			code := run(t.Context(), environment{args: args, lookup: lookupIn(nil), stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr})
			assert.Equal(t, c.code, code)
			assert.Regexp(t, c.want, stderr.String())
		})
	}
	assert.Zero(t, b.sent())
}

func TestSubmitWaitsForTheOutcomesAndJudgesThem(t *testing.T) {
	scenario := fileWith(t, "scenario.yaml", "messages:\n  "+someUMID+": {answers: [{status: 404}]}\n")
	dev := start(t, nil, append(anyPorts, "--scenario", scenario)...)
	address := dev.await(&dev.stdout, `(?m)^broker  (127\.0\.0\.1:\d+)\n`)
	submit := func(file string, args ...string) result {
		return smscancel(t, nil, append([]string{"submit", file, "--brokers", address, "--wait", "--state-dir", t.TempDir()}, args...)...)
	}
	umids := "umid,subAccountId\n9fa677ae-6b99-4215-85b3-6ee7b89d35c9,acme_shop\n0680b9dd-b69d-46cd-9fef-cc3d143f7b7d,acme_shop\n"
	got := submit(fileWith(t, "good.csv", umids))
	assert.Equal(t, exitDone, got.code, got.stderr)
	assert.Equal(t, "2", counts(got.stdout)["cancelled"])
	assert.Contains(t, got.stderr, "submitted 2 of 2 (100 %)\n")
	assert.Contains(t, got.stderr, "outcomes 2 of 2 (100 %)\n")

	got = submit(fileWith(t, "bad.csv", umids+someUMID+",acme_shop\n"))
	assert.Equal(t, exitFailed, got.code)
	assert.Equal(t, "2", counts(got.stdout)["duplicate"], "the two that were cancelled before")
	assert.Equal(t, "1", counts(got.stdout)["failed"])
	assert.Contains(t, got.stderr, "smscancel: every request has its outcome, but not every one is a success: 1 failed\n")
	assert.Equal(t, exitDone, dev.end(), dev.stderr.String())
}

// Fault: the operator interrupts while no worker runs. Promise: that ends at once
// with what is left; the same command sends nothing again and waits on.
func TestWaitingCanBeInterruptedAndGoneOnWith(t *testing.T) {
	b := newSubmitBench(t)
	file := fileWith(t, "rows.csv", rowsOf(3, 0))
	args := []string{"submit", file, "--brokers", b.broker.Addr(), "--wait", "--state-dir", b.state}
	for i, want := range []string{"submitted 3 requests to sms.cancel.requests\n", "submitted 0 requests to sms.cancel.requests, 3 before\n"} {
		waiting := start(t, nil, args...)
		waiting.await(&waiting.stderr, `outcomes 0 of 3`)
		assert.Equal(t, exitFailed, waiting.end())
		assert.Contains(t, waiting.stderr.String(), "interrupted while 3 of 3 requests had no outcome yet")
		assert.Contains(t, waiting.stdout.String(), want, "run %d", i)
		assert.Equal(t, int64(3), b.sent())
	}
}
