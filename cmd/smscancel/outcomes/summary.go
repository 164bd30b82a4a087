package outcomes

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"smscancel/worker"
)

// Summary counts outcomes by status and error code, and measures their times.
// Its memory does not grow with their number. NewSummary makes one.
type Summary struct {
	byStatus map[worker.Status]int
	byError  map[errorKey]int
	total    int
	calls    int
	unclear  int

	first, last time.Time // outcome records
	took        *hdrhistogram.Histogram
}

// errorKey is what the errors of outcomes are counted by.
type errorKey struct {
	status     worker.Status
	kind       worker.Kind
	httpStatus int
	code       string
}

const (
	// What an outcome topic of ours holds are a few dozen; one with anything in
	// it must not fill the memory.
	maxKeys = 1000

	longest   = int64(10 * 365 * 24 * time.Hour / time.Millisecond)
	precision = 3 // digits
)

// NewSummary returns an empty summary.
func NewSummary() *Summary {
	return &Summary{byStatus: map[worker.Status]int{}, byError: map[errorKey]int{}, took: hdrhistogram.New(1, longest, precision)}
}

// Add counts an outcome.
func (s *Summary) Add(o *Record) {
	s.total++
	s.calls += o.Attempts
	if o.Ambiguous {
		s.unclear++
	}
	status := o.Status
	if !slices.Contains(Statuses(), status) {
		status = other
	}
	s.byStatus[status]++
	if o.Error != nil {
		s.addError(status, o.Error)
	}
	s.addTimes(o)
}

const other = "other" // of a later version, perhaps

func (s *Summary) addError(status worker.Status, e *worker.Error) {
	key := errorKey{status, e.Kind, e.HTTPStatus, cmp.Or(countOf(e.Code), "-")}
	if _, known := s.byError[key]; !known && len(s.byError) >= maxKeys {
		key = errorKey{status, other, 0, "-"}
	}
	s.byError[key]++
}

// addTimes measures from the record of the request to that of the outcome. Two
// clocks may have written them; what they give as less than nothing is nothing.
func (s *Summary) addTimes(o *Record) {
	if s.first.IsZero() || o.At.Before(s.first) {
		s.first = o.At
	}
	if o.At.After(s.last) {
		s.last = o.At
	}
	if requested, err := time.Parse(time.RFC3339Nano, o.Source.Timestamp); err == nil {
		took := o.At.Sub(requested).Milliseconds()
		s.took.RecordValue(min(max(took, 0), longest)) //nolint:errcheck // it is within the bounds
	}
}

// Total is the number of outcomes.
func (s *Summary) Total() int { return s.total }

// Print shows the counts to a person.
func (s *Summary) Print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "STATUS\tOUTCOMES")
	for _, status := range append(Statuses(), other) {
		if n := s.byStatus[status]; n > 0 || status != other {
			fmt.Fprintf(t, "%s\t%d\n", status, n)
		}
	}
	fmt.Fprintf(t, "total\t%d\n\n", s.total)
	fmt.Fprintln(t, "STATUS\tERROR KIND\tHTTP\tCODE\tOUTCOMES")
	for _, key := range s.errors() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\n", key.status, Safe(string(key.kind)), cmp.Or(number(key.httpStatus), "-"), key.code, s.byError[key])
	}
	t.Flush() //nolint:errcheck // a terminal
	fmt.Fprintf(w, "\n%d DELETE calls, %d outcomes marked ambiguous\n", s.calls, s.unclear)
	if s.total > 0 {
		fmt.Fprintln(w, s.times())
	}
}

// times is one line about rate and latency.
func (s *Summary) times() string {
	line := fmt.Sprintf("first %s, last %s", worker.FormatTime(s.first), worker.FormatTime(s.last))
	if rate := s.rate(); rate > 0 {
		line += fmt.Sprintf(", %.1f/s", rate)
	}
	if s.took.TotalCount() > 0 {
		line += fmt.Sprintf("; from request to outcome p50 %s, p99 %s", s.percentile(50), s.percentile(99))
	}
	return line
}

// rate is the outcomes per second between the first and the last; 0 if there is
// no time between them.
func (s *Summary) rate() float64 {
	if d := s.last.Sub(s.first); d > 0 {
		return float64(s.total) / d.Seconds()
	}
	return 0
}

func (s *Summary) percentile(p float64) time.Duration {
	return time.Duration(s.took.ValueAtPercentile(p)) * time.Millisecond
}

func (s *Summary) errors() []errorKey {
	return slices.SortedFunc(maps.Keys(s.byError), func(a, b errorKey) int {
		return cmp.Or(cmp.Compare(a.status, b.status), cmp.Compare(a.kind, b.kind), cmp.Compare(a.httpStatus, b.httpStatus), cmp.Compare(a.code, b.code))
	})
}

// Report is a summary for programs: its JSON.
type Report struct {
	Total     int                   `json:"total"`
	ByStatus  map[worker.Status]int `json:"byStatus"`
	ByError   []ErrorCount          `json:"byError"`
	Calls     int                   `json:"calls"`
	Ambiguous int                   `json:"ambiguous"`
	First     string                `json:"firstAt,omitempty"`
	Last      string                `json:"lastAt,omitempty"`
	PerSecond float64               `json:"perSecond"`
	P50       float64               `json:"p50Seconds"` // from the request's record to the outcome's
	P99       float64               `json:"p99Seconds"`
	Campaigns []CampaignReport      `json:"campaigns,omitempty"`
}

// ErrorCount is how many outcomes have an error.
type ErrorCount struct {
	Status     worker.Status `json:"status"`
	Kind       worker.Kind   `json:"kind"`
	HTTPStatus int           `json:"httpStatus,omitempty"`
	Code       string        `json:"code"`
	Outcomes   int           `json:"outcomes"`
}

// Report returns the counts for programs.
func (s *Summary) Report() Report {
	r := Report{Total: s.total, ByStatus: s.byStatus, ByError: []ErrorCount{}, Calls: s.calls, Ambiguous: s.unclear,
		PerSecond: s.rate(), P50: s.percentile(50).Seconds(), P99: s.percentile(99).Seconds()}
	if s.total > 0 {
		r.First, r.Last = worker.FormatTime(s.first), worker.FormatTime(s.last)
	}
	for _, key := range s.errors() {
		r.ByError = append(r.ByError, ErrorCount{key.status, key.kind, key.httpStatus, key.code, s.byError[key]})
	}
	return r
}
