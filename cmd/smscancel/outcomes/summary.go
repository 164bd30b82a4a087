package outcomes

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"smscancel/worker"
)

// Summary counts outcomes by status and error code. NewSummary makes one.
type Summary struct {
	byStatus map[worker.Status]int
	byError  map[string]int
	total    int
	calls    int
	unclear  int
}

// NewSummary returns an empty summary.
func NewSummary() *Summary {
	return &Summary{byStatus: map[worker.Status]int{}, byError: map[string]int{}}
}

// Add counts an outcome.
func (s *Summary) Add(o *worker.Outcome) {
	s.total++
	s.calls += o.Attempts
	s.byStatus[o.Status]++
	if o.Ambiguous {
		s.unclear++
	}
	if o.Error == nil {
		return
	}
	code := "-"
	if o.Error.Code != nil {
		code = fmt.Sprint(*o.Error.Code)
	}
	http := "-"
	if o.Error.HTTPStatus != 0 {
		http = fmt.Sprint(o.Error.HTTPStatus)
	}
	s.byError[fmt.Sprintf("%s\t%s\t%s\t%s", o.Status, o.Error.Kind, http, code)]++
}

// Print shows the counts to a person.
func (s *Summary) Print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STATUS\tOUTCOMES")
	for _, status := range []worker.Status{worker.StatusCancelled, worker.StatusNotCancelled, worker.StatusFailed,
		worker.StatusDuplicate, worker.StatusExpired, worker.StatusRejected} {
		fmt.Fprintf(t, "%s\t%d\n", status, s.byStatus[status])
	}
	fmt.Fprintf(t, "total\t%d\n\n", s.total)
	fmt.Fprintln(t, "STATUS\tERROR KIND\tHTTP\tCODE\tOUTCOMES")
	for _, key := range slices.Sorted(maps.Keys(s.byError)) {
		fmt.Fprintf(t, "%s\t%d\n", key, s.byError[key])
	}
	t.Flush() //nolint:errcheck // a terminal
	fmt.Fprintf(w, "\n%d DELETE calls, %d outcomes marked ambiguous\n", s.calls, s.unclear)
}
