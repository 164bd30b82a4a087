package redrive

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smscancel/worker"
)

func newBook() *Book {
	b := NewBook()
	b.Max, b.Partitions, b.Now = 3, map[string]int{"r": 4}, time.Now()
	return b
}

func failed() *worker.Outcome {
	return &worker.Outcome{OutcomeID: "0", UMID: "M", SubAccountID: "acme_shop", Status: worker.StatusFailed, Source: worker.OutcomeSource{Topic: "r", Partition: 3}}
}

func TestTheSameOutcomeAlwaysBecomesTheSameRequest(t *testing.T) {
	o := failed()
	o.Metadata = map[string]string{"b": "2", "a": "1", "c": "3"}
	first, _, _ := newBook().Make(o)
	require.NotEmpty(t, first)
	for range 20 {
		again, _, _ := newBook().Make(o)
		assert.Equal(t, string(first), string(again))
	}
	assert.Equal(t, map[string]string{"b": "2", "a": "1", "c": "3"}, o.Metadata, "the outcome itself stays as it is")
}

// An outcome that was too large for its topic has left out its metadata: the
// loop guard finds the count in the requestId.
func TestTheLoopGuardHoldsThoughAnOutcomeLostItsMetadata(t *testing.T) {
	b, o := newBook(), failed()
	for n := range 3 {
		value, skip, what := b.Make(o)
		require.Empty(t, skip, what)
		req, err := worker.Parser{}.Parse(&worker.Record{Value: value})
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprint(n+1), req.Metadata[CountKey])
		o = failed()
		o.OutcomeID, o.RequestID = fmt.Sprint(n+1), req.RequestID
	}
	_, skip, _ := b.Make(o)
	assert.Equal(t, TooMany, skip)
}

func TestWhatAnOutcomeSaysIsNotTrusted(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*worker.Outcome)
		want   Skip
	}{
		"no topic":             {func(o *worker.Outcome) { o.Source.Topic = "x" }, Foreign},
		"no partition":         {func(o *worker.Outcome) { o.Source.Partition = 4 }, Foreign},
		"a negative partition": {func(o *worker.Outcome) { o.Source.Partition = -1 }, Foreign},
		"no id":                {func(o *worker.Outcome) { o.UMID = "" }, Invalid},
		"an id that escapes":   {func(o *worker.Outcome) { o.UMID = "../x" }, Invalid},
		"two ids":              {func(o *worker.Outcome) { o.BatchID = "B" }, Invalid},
		"no sub-account":       {func(o *worker.Outcome) { o.SubAccountID = "" }, Invalid},
		"a long outcomeId":     {func(o *worker.Outcome) { o.OutcomeID = strings.Repeat("x", 200) }, Invalid},
		"a count below zero":   {func(o *worker.Outcome) { o.Metadata = map[string]string{CountKey: "-9"} }, Invalid},
		"no count":             {func(o *worker.Outcome) { o.Metadata = map[string]string{CountKey: "x"} }, Invalid},
		"a count in both":      {func(o *worker.Outcome) { o.RequestID, o.Metadata = "redrive-9-x", map[string]string{CountKey: "0"} }, TooMany},
		"year one":             {func(o *worker.Outcome) { o.ScheduledAt = "0001-01-01T00:00:00Z" }, Past},
		"no time":              {func(o *worker.Outcome) { o.ScheduledAt = "soon" }, Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			o := failed()
			c.change(o)
			value, skip, what := newBook().Make(o)
			assert.Equal(t, c.want, skip, what)
			assert.Empty(t, value)
		})
	}
}
