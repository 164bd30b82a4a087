package outcomes

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"

	"smscancel/worker"
)

func TestSummaryCountsByStatusAndError(t *testing.T) {
	code := 1300
	notFound := &worker.Error{Kind: worker.KindNotFound, HTTPStatus: 404, Code: &code}
	s := NewSummary()
	for _, o := range []worker.Outcome{
		{Status: worker.StatusCancelled, Attempts: 1},
		{Status: worker.StatusCancelled, Attempts: 3},
		{Status: worker.StatusNotCancelled, Attempts: 2, Ambiguous: true},
		{Status: worker.StatusFailed, Attempts: 1, Error: notFound},
		{Status: worker.StatusFailed, Attempts: 1, Error: notFound},
		{Status: worker.StatusFailed, Attempts: 4, Ambiguous: true, Error: &worker.Error{Kind: worker.KindTimeout}},
		{Status: worker.StatusRejected, Error: &worker.Error{Kind: worker.KindInvalidRequest}},
	} {
		s.Add(&o)
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
`, out.String())
}
