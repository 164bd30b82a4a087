package outcomes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smscancel/worker"
)

func TestSummaryCountsByStatusAndError(t *testing.T) {
	code := 1300
	notFound := &worker.Error{Kind: worker.KindNotFound, HTTPStatus: 404, Code: &code}
	s := NewSummary()
	for i, o := range []worker.Outcome{
		{Status: worker.StatusCancelled, Attempts: 1},
		{Status: worker.StatusCancelled, Attempts: 3},
		{Status: worker.StatusNotCancelled, Attempts: 2, Ambiguous: true},
		{Status: worker.StatusFailed, Attempts: 1, Error: notFound},
		{Status: worker.StatusFailed, Attempts: 1, Error: notFound},
		{Status: worker.StatusFailed, Attempts: 4, Ambiguous: true, Error: &worker.Error{Kind: worker.KindTimeout}},
		{Status: worker.StatusRejected, Error: &worker.Error{Kind: worker.KindInvalidRequest}},
	} {
		s.Add(&Record{Outcome: &o, At: time.UnixMilli(int64(i) * 500)})
	}
	var out bytes.Buffer
	s.Print(&out)
	assert.Equal(t, `STATUS         OUTCOMES
cancelled      2
not_cancelled  1
failed         3
duplicate      0
expired        0
rejected       1
total          7

STATUS    ERROR KIND       HTTP  CODE  OUTCOMES
failed    not_found        404   1300  2
failed    timeout          -     -     1
rejected  invalid_request  -     -     1

12 DELETE calls, 2 outcomes marked ambiguous
first 1970-01-01T00:00:00.000Z, last 1970-01-01T00:00:03.000Z, 2.3/s
`, out.String())
}

// Whatever an outcome topic holds, a summary keeps a bounded number of keys and
// loses no count.
func TestSummaryIsBoundedWhateverTheTopicHolds(t *testing.T) {
	s := NewSummary()
	for i := range 10 * maxKeys {
		s.Add(&Record{At: time.UnixMilli(int64(i) * 1e15), Outcome: &worker.Outcome{
			Status: worker.Status(fmt.Sprint("\x1b[31m", i)), Error: &worker.Error{Kind: worker.Kind(fmt.Sprint("\x1b[31m", i)), Code: &i},
		}})
	}
	assert.LessOrEqual(t, len(s.byStatus)+len(s.byError), maxKeys+10)
	report := s.Report()
	sum := 0
	for _, e := range report.ByError {
		sum += e.Outcomes
	}
	assert.Equal(t, 10*maxKeys, sum)
	_, err := json.Marshal(report)
	require.NoError(t, err)
	var out bytes.Buffer
	s.Print(&out)
	assert.Equal(t, fmt.Sprint(10*maxKeys), strings.Fields(out.String()[strings.Index(out.String(), "other"):])[1])
	assert.NotContains(t, out.String(), "\x1b")
}

func TestPercentilesAreThoseOfTheTimesWithinAThousandth(t *testing.T) {
	s := NewSummary()
	at := time.UnixMilli(1_800_000_000_000)
	for ms := range 100_000 {
		s.Add(&Record{At: at.Add(time.Duration(ms) * time.Millisecond), Outcome: &worker.Outcome{Source: worker.OutcomeSource{Timestamp: worker.FormatTime(at)}}})
	}
	s.Add(&Record{At: at, Outcome: &worker.Outcome{Source: worker.OutcomeSource{Timestamp: "no time"}}})
	s.Add(&Record{At: at, Outcome: &worker.Outcome{Source: worker.OutcomeSource{Timestamp: worker.FormatTime(at.Add(time.Hour))}}}) // a clock ahead
	assert.InEpsilon(t, 50, s.Report().P50, 0.001)
	assert.InEpsilon(t, 99, s.Report().P99, 0.001)
}
