package submission

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/consumer/records"
	"smscancel/integration/broker"
	"smscancel/producer"
	"smscancel/producer/rows"
	"smscancel/worker"
)

const topic = "requests"

// bench is a request topic on an embedded broker.
type bench struct {
	t       *testing.T
	cluster *kfake.Cluster
	client  *kafka.Client
	dir     string
}

func newBench(t *testing.T, settings map[string]string) *bench {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	require.NoError(t, err)
	transport := &kafka.Transport{}
	t.Cleanup(func() { transport.CloseIdleConnections(); b.Close() })
	require.NoError(t, b.Cluster.CreateTopic(topic, 3, settings))
	return &bench{t, b.Cluster, &kafka.Client{Addr: kafka.TCP(b.Addr()), Transport: transport}, t.TempDir()}
}

// file writes a file of this test's own.
func (b *bench) file(name, content string) string {
	path := filepath.Join(b.dir, name)
	require.NoError(b.t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// ndjson are n requests, a line each, numbered from a number on.
func ndjson(from, n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `{"umid":"U-%d","subAccountId":"acme_shop"}`+"\n", from+i)
	}
	return text.String()
}

// submission is one of files, or of a stream where there are none.
func (b *bench) submission(stream io.Reader, paths ...string) *Submission {
	b.t.Helper()
	s := &Submission{Requests: producer.NewRequests(b.client, topic), Invalid: func(name string, line int, fault *worker.Rejection) {}}
	if stream != nil {
		paths = append(paths, Stdin)
	}
	for _, path := range paths {
		in, err := Open(path, stream)
		require.NoError(b.t, err)
		s.Inputs = append(s.Inputs, in)
	}
	return s
}

func (b *bench) survey(s *Submission) Count {
	b.t.Helper()
	c, err := s.Survey(b.t.Context())
	require.NoError(b.t, err)
	return c
}

func (b *bench) journal(s *Submission) *Journal {
	b.t.Helper()
	j, err := OpenJournal(filepath.Join(b.dir, "state"), Key(s.Inputs, s.Check, "cluster", topic), []int64{7})
	require.NoError(b.t, err)
	b.t.Cleanup(func() { j.Close() }) //nolint:errcheck // it may be closed
	return j
}

// sent are the values in the topic, in order.
func (b *bench) sent() []string {
	b.t.Helper()
	reader := &records.Client{Transport: b.client.Transport, Addr: b.client.Addr}
	var all []string
	for p := range 3 {
		for at := int64(0); ; {
			page, err := reader.Fetch(b.t.Context(), records.FetchRequest{Topic: topic, Partition: p, Offset: at})
			require.NoError(b.t, err)
			for rec, err := range page.Records() {
				require.NoError(b.t, err)
				all = append(all, string(rec.Value))
			}
			if at == page.NextOffset {
				break
			}
			at = page.NextOffset
		}
	}
	slices.Sort(all)
	return all
}

func TestFilesAreSentWholeAndOnce(t *testing.T) {
	b := newBench(t, nil)
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := io.WriteString(w, ndjson(100, 100))
	require.NoError(t, errors.Join(err, w.Close()))
	s := b.submission(nil, b.file("a.csv", "umid,subAccountId\nA,acme_shop\n"), b.file("b.ndjson.gz", zipped.String()))
	assert.Equal(t, Count{Valid: 101}, b.survey(s))
	sent := int64(0)
	s.Sent = func(n int64) { sent += n }
	require.NoError(t, s.Send(t.Context(), b.journal(s)))
	got := b.sent()
	assert.Len(t, slices.Compact(got), 101)
	assert.Equal(t, int64(101), sent)
	assert.Equal(t, int64(101), s.Places.Total())
	assert.Contains(t, got, `{"requestId":"`+s.Inputs[0].hash[:12]+`-2","umid":"A","subAccountId":"acme_shop"}`)
}

func TestTheSameFileGivesTheSameRequests(t *testing.T) {
	b := newBench(t, nil)
	content := "umid,subAccountId\nA,acme_shop\nB,acme_shop\n"
	for _, name := range []string{"a.csv", "another name.csv"} {
		s := b.submission(nil, b.file(name, content))
		b.survey(s)
		require.NoError(t, s.Send(t.Context(), nil))
	}
	for range 2 {
		require.NoError(t, b.submission(strings.NewReader(content)).Send(t.Context(), nil))
	}
	got := b.sent()
	assert.Len(t, got, 8)
	assert.Len(t, slices.Compact(got), 4)
}

// Fault: a run ends in the middle of each of its batches in turn, by a refusal of
// the broker, and is started again. Promise: no row is lost, and none is sent again
// that was acknowledged in a batch before: at most that one batch goes twice.
func TestAnInterruptedSubmissionGoesOnWhereItWas(t *testing.T) {
	b := newBench(t, nil)
	const total = 4*fileRows + 123
	path := b.file("a.ndjson", ndjson(0, total))
	runs := 0
	for acknowledged := int64(0); ; runs++ {
		s := b.submission(nil, path)
		b.survey(s)
		j := b.journal(s)
		assert.Equal(t, acknowledged, j.Acknowledged)
		assert.Equal(t, []int64{7}, j.Outcomes)
		batches := 0
		s.Sent = func(int64) {
			if batches++; batches == 1 { // then every further batch fails in one of its partitions
				b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{1}, Count: 1, Err: kerr.TopicAuthorizationFailed})
			}
		}
		err := s.Send(t.Context(), j)
		require.NoError(t, j.Close())
		if err == nil {
			assert.Equal(t, int64(total), s.Places.Total())
			break
		}
		var stopped *Stopped
		require.ErrorAs(t, err, &stopped)
		assert.Greater(t, stopped.Acknowledged, acknowledged, "a run that acknowledged nothing")
		acknowledged = stopped.Acknowledged
	}
	got := b.sent()
	twice := len(got)
	got = slices.Compact(got)
	twice -= len(got)
	assert.Len(t, got, total)
	assert.Greater(t, runs, 0)
	assert.LessOrEqual(t, twice, runs*batchRows)
	t.Logf("%d interruptions, %d rows sent twice", runs, twice)
}

// Fault: the journal's last line was cut off by a crash. Promise: what stands
// before it counts.
func TestATornJournalCountsAsFarAsItIsWhole(t *testing.T) {
	dir := t.TempDir()
	j, err := OpenJournal(dir, "k", []int64{1, 2})
	require.NoError(t, err)
	require.NoError(t, j.advance(10, []producer.Span{{Partition: 0, From: 5, To: 15}}))
	require.NoError(t, j.advance(20, []producer.Span{{Partition: 1, From: 0, To: 10}}))
	require.NoError(t, j.Close())
	whole, err := os.ReadFile(j.path)
	require.NoError(t, err)
	lastLine := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := lastLine; cut < len(whole); cut++ {
		require.NoError(t, os.WriteFile(j.path, whole[:cut], 0o600))
		torn, err := OpenJournal(dir, "k", []int64{9, 9})
		require.NoError(t, err)
		assert.Equal(t, int64(10), torn.Acknowledged)
		assert.Equal(t, []int64{1, 2}, torn.Outcomes)
		assert.Equal(t, []producer.Span{{Partition: 0, From: 5, To: 15}}, torn.Spans)
		require.NoError(t, torn.advance(12, nil))
		require.NoError(t, torn.Close())
		again, err := OpenJournal(dir, "k", nil)
		require.NoError(t, err)
		assert.Equal(t, int64(12), again.Acknowledged, "what was written behind a torn line")
		require.NoError(t, again.Close())
	}
	require.NoError(t, os.WriteFile(j.path, []byte(`{"v":99}`+"\n"), 0o600))
	_, err = OpenJournal(dir, "k", nil)
	assert.ErrorContains(t, err, "of another version")
	last, err := OpenJournal(dir, "other", nil)
	require.NoError(t, err)
	require.NoError(t, last.Remove())
	_, err = os.Stat(last.path)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestTheKeyTellsSubmissionsApart(t *testing.T) {
	b := newBench(t, nil)
	inputs := func(contents ...string) []*Input {
		var paths []string
		for i, content := range contents {
			paths = append(paths, b.file(fmt.Sprintf("%d.ndjson", i), content))
		}
		s := b.submission(nil, paths...)
		b.survey(s)
		return s.Inputs
	}
	one, two := ndjson(0, 1), ndjson(1, 1)
	keys := map[string]bool{}
	for _, key := range []string{
		Key(inputs(one), rows.Checker{}, "c", "t"), Key(inputs(two), rows.Checker{}, "c", "t"),
		Key(inputs(one, two), rows.Checker{}, "c", "t"), Key(inputs(two, one), rows.Checker{}, "c", "t"),
		Key(inputs(one), rows.Checker{Campaign: "x"}, "c", "t"), Key(inputs(one), rows.Checker{DefaultSubAccount: "x"}, "c", "t"),
		Key(inputs(one), rows.Checker{}, "c", "t2"), Key(inputs(one), rows.Checker{}, "c2", "t"),
	} {
		keys[key] = true
	}
	assert.Len(t, keys, 8)
	assert.Equal(t, Key(inputs(one), rows.Checker{}, "c", "t"), Key(inputs(one), rows.Checker{}, "c", "t"))
	assert.Empty(t, Key(append(inputs(one), &Input{Stream: strings.NewReader("")}), rows.Checker{}))
}

func TestAStreamIsSentAsItComes(t *testing.T) {
	b := newBench(t, nil)
	stream, input := io.Pipe()
	defer stream.Close()
	s := b.submission(stream)
	sent := make(chan int64, 10)
	s.Sent = func(n int64) { sent <- n }
	done := make(chan error, 1)
	go func() { done <- s.Send(t.Context(), nil) }()
	for i := range 3 {
		_, err := io.WriteString(input, ndjson(i, 1)+strings.Repeat("\n", 1<<20)) // what follows shows that the row is not waited with
		require.NoError(t, err)
		assert.Equal(t, int64(1), <-sent)
	}
	require.NoError(t, input.Close())
	require.NoError(t, <-done)
	assert.Len(t, b.sent(), 3)
}

// Fault: a row of a stream is no valid request. Promise: what stands before it is
// sent and counted, nothing behind it, and the row is named; with SkipInvalid the
// others are sent.
func TestABadRowEndsAStreamUnlessItIsToBeSkipped(t *testing.T) {
	stream := "umid,subAccountId\nA,acme_shop\nB,!\nC,acme_shop\n"
	b := newBench(t, nil)
	err := b.submission(strings.NewReader(stream)).Send(t.Context(), nil)
	require.EqualError(t, err, "stdin:3: subAccountId: must be 3 to 50 of A-Z a-z 0-9 - . _ &")
	var stopped *Stopped
	require.ErrorAs(t, err, &stopped)
	assert.Equal(t, int64(1), stopped.Acknowledged)
	assert.Len(t, b.sent(), 1)

	skipping := b.submission(strings.NewReader(stream))
	skipping.SkipInvalid = true
	var skipped []string
	skipping.Invalid = func(name string, line int, fault *worker.Rejection) {
		skipped = append(skipped, fmt.Sprintf("%s:%d: %s", name, line, fault.Field))
	}
	require.NoError(t, skipping.Send(t.Context(), nil))
	assert.Equal(t, []string{"stdin:3: subAccountId"}, skipped)
	assert.Len(t, b.sent(), 3)
}

func TestAFileThatChangesBetweenValidationAndSendingIsNotSent(t *testing.T) {
	b := newBench(t, nil)
	path := b.file("a.ndjson", ndjson(0, 3))
	s := b.submission(nil, path)
	b.survey(s)
	b.file("a.ndjson", ndjson(0, 4))
	assert.ErrorContains(t, s.Send(t.Context(), nil), "has changed since it was validated")
	assert.Empty(t, b.sent())
}

func TestARowTooLargeForTheTopicIsNamed(t *testing.T) {
	b := newBench(t, map[string]string{"max.message.bytes": "1000"})
	path := b.file("a.ndjson", ndjson(0, 50)+`{"umid":"X","subAccountId":"acme_shop","x":"`+strings.Repeat("x", 2000)+"\"}\n")
	s := b.submission(nil, path)
	b.survey(s)
	err := s.Send(t.Context(), nil)
	require.ErrorContains(t, err, path+":51: a request of")
	assert.ErrorContains(t, err, "raise its max.message.bytes")
}

// Fault: the context ends while a stream has nothing to say, and while a batch is
// on its way. Promise: Send ends, and knows what was acknowledged.
func TestAnInterruptionEndsTheSubmission(t *testing.T) {
	b := newBench(t, nil)
	stream, input := io.Pipe()
	defer input.Close()
	ctx, cancel := context.WithCancel(t.Context())
	s := b.submission(stream)
	s.Sent = func(int64) { cancel() }
	go io.WriteString(input, ndjson(0, 1)) //nolint:errcheck // the reader goes on or not
	err := s.Send(ctx, nil)
	require.ErrorIs(t, err, context.Canceled)
	var stopped *Stopped
	require.ErrorAs(t, err, &stopped)
	assert.Equal(t, int64(1), stopped.Acknowledged)

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	var held atomic.Bool
	release := make(chan struct{})
	b.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		if held.CompareAndSwap(false, true) {
			cancel()
			b.cluster.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	time.AfterFunc(0, func() { <-ctx.Done(); close(release) })
	file := b.submission(nil, b.file("a.ndjson", ndjson(10, fileRows+1)))
	b.survey(file)
	err = file.Send(ctx, nil)
	require.ErrorAs(t, err, &stopped)
	assert.Equal(t, int64(fileRows), stopped.Acknowledged-stopped.Acknowledged%fileRows, "the batch in hand is acknowledged and known to be")
}
