package outcomes

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"smscancel/worker"
)

// Formats are the ways in which outcomes can be listed.
func Formats() []string { return []string{"table", "json", "csv"} }

// List writes outcomes, one a line.
type List struct {
	out   *bufio.Writer
	write func(*Record) error
	csv   *csv.Writer
}

// NewList begins a list in one of the Formats.
func NewList(format string, w io.Writer) (*List, error) {
	l := &List{out: bufio.NewWriterSize(w, 64<<10)}
	var err error
	switch format {
	case "json":
		l.write = l.json
	case "csv":
		l.csv = csv.NewWriter(l.out)
		l.write = l.row
		err = l.csv.Write(header())
	default:
		l.write = l.line
		_, err = fmt.Fprintf(l.out, tableLine, "TIME", "STATUS", "MESSAGE", "SUB-ACCOUNT", "CAMPAIGN", "DETAIL")
	}
	return l, err
}

// Add writes an outcome, perhaps not before Flush.
func (l *List) Add(o *Record) error { return l.write(o) }

// Flush writes what was added.
func (l *List) Flush() error {
	if l.csv != nil {
		l.csv.Flush() // its error is that of out
	}
	return l.out.Flush()
}

// json writes the outcome as it stands in the topic.
func (l *List) json(o *Record) error {
	l.out.Write(SafeJSON(o.Value)) //nolint:errcheck // the next write has the same error
	return l.out.WriteByte('\n')
}

const tableLine = "%-24s  %-13s  %-36s  %-14s  %-14s  %s\n"

func (l *List) line(o *Record) error {
	_, err := fmt.Fprintf(l.out, tableLine, Safe(o.CompletedAt), Safe(string(o.Status)), Safe(message(o.Outcome)),
		Safe(cmp.Or(o.SubAccountID, "-")), Safe(cmp.Or(o.CampaignID, "-")), Safe(detail(o.Outcome)))
	return err
}

func message(o *worker.Outcome) string {
	if o.BatchID != "" {
		return "batch " + o.BatchID
	}
	return cmp.Or(o.UMID, "-")
}

// detail is what makes an outcome other than the plain one of its status.
func detail(o *worker.Outcome) string {
	var parts []string
	if o.Ambiguous {
		parts = append(parts, "ambiguous")
	}
	if n := o.CancelledCount; n != nil && *n > 1 {
		parts = append(parts, fmt.Sprint(*n, " messages"))
	}
	if o.Attempts > 1 {
		parts = append(parts, fmt.Sprint(o.Attempts, " attempts"))
	}
	if e := o.Error; e != nil {
		parts = append(parts, strings.TrimRight(fmt.Sprintf("%s %s: %s", e.Kind, codes(e), e.Message), ": "))
	}
	if o.DuplicateOf != "" {
		parts = append(parts, "of "+o.DuplicateOf)
	}
	return strings.Join(parts, ", ")
}

// codes are the two numbers of an error, as far as there are any.
func codes(e *worker.Error) string {
	text := number(e.HTTPStatus)
	if e.Code != nil {
		text += "/" + strconv.Itoa(*e.Code)
	}
	return text
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// columns are those of CSV, by the names of the fields.
var columns = []struct {
	name string
	cell func(*Record) string
}{
	{"outcomeId", func(o *Record) string { return o.OutcomeID }},
	{"requestId", func(o *Record) string { return o.RequestID }},
	{"subAccountId", func(o *Record) string { return o.SubAccountID }},
	{"umid", func(o *Record) string { return o.UMID }},
	{"batchId", func(o *Record) string { return o.BatchID }},
	{"campaignId", func(o *Record) string { return o.CampaignID }},
	{"reason", func(o *Record) string { return o.Reason }},
	{"status", func(o *Record) string { return string(o.Status) }},
	{"cancelledCount", func(o *Record) string { return countOf(o.CancelledCount) }},
	{"error.kind", func(o *Record) string { return string(errorOf(o).Kind) }},
	{"error.httpStatus", func(o *Record) string { return number(errorOf(o).HTTPStatus) }},
	{"error.code", func(o *Record) string { return countOf(errorOf(o).Code) }},
	{"error.message", func(o *Record) string { return errorOf(o).Message }},
	{"error.errorId", func(o *Record) string { return errorOf(o).ErrorID }},
	{"error.timestamp", func(o *Record) string { return errorOf(o).Timestamp }},
	{"attempts", func(o *Record) string { return strconv.Itoa(o.Attempts) }},
	{"ambiguous", func(o *Record) string { return strconv.FormatBool(o.Ambiguous) }},
	{"duplicateOf", func(o *Record) string { return o.DuplicateOf }},
	{"requestedAt", func(o *Record) string { return o.RequestedAt }},
	{"scheduledAt", func(o *Record) string { return o.ScheduledAt }},
	{"firstAttemptAt", func(o *Record) string { return o.FirstAttemptAt }},
	{"completedAt", func(o *Record) string { return o.CompletedAt }},
	{"source.topic", func(o *Record) string { return o.Source.Topic }},
	{"source.partition", func(o *Record) string { return strconv.Itoa(o.Source.Partition) }},
	{"source.offset", func(o *Record) string { return strconv.FormatInt(o.Source.Offset, 10) }},
	{"source.timestamp", func(o *Record) string { return o.Source.Timestamp }},
	{"metadata", func(o *Record) string { return metadataOf(o) }},
}

func header() []string {
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = column.name
	}
	return names
}

func (l *List) row(o *Record) error {
	cells := make([]string, len(columns))
	for i, column := range columns {
		cells[i] = safeCell(column.cell(o))
	}
	return l.csv.Write(cells)
}

func countOf(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}

func errorOf(o *Record) *worker.Error {
	if o.Error == nil {
		return &worker.Error{}
	}
	return o.Error
}

// metadataOf is the metadata as JSON, empty if there is none.
func metadataOf(o *Record) string {
	if len(o.Metadata) == 0 {
		return ""
	}
	text, err := json.Marshal(o.Metadata)
	if err != nil {
		return ""
	}
	return string(text)
}
