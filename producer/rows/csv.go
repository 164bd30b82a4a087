package rows

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"smscancel/worker"
)

const metadataPrefix = "metadata."

// fields are what a column may be, besides metadata.NAME.
var fields = []string{"umid", "batchId", "subAccountId", "requestId", "requestedAt", "scheduledAt", "campaignId", "reason", "force"}

// table reads CSV: a header row names the columns, in any order.
type table struct {
	csv   *csv.Reader
	meter *meter
	names []string // the columns' JSON names, quoted; of metadata the part behind the dot
	kinds []kind
	order []int // of the columns, metadata last
	line  int   // where the last row began
	value []byte
}

// kind is what becomes of a cell.
type kind int

const (
	text kind = iota
	flag
	metadata
)

func newCSV(from *bufio.Reader) (*table, error) {
	t := &table{meter: &meter{from: from}}
	// csv keeps a reader of this size as it is, so that nothing is read ahead of the meter but that.
	t.csv = csv.NewReader(bufio.NewReaderSize(t.meter, 4096))
	t.csv.FieldsPerRecord, t.csv.ReuseRecord, t.line = -1, true, 1
	t.meter.left = maxRow
	header, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("line 1: the header row is missing: it names the columns, such as umid,subAccountId")
	}
	if err != nil {
		return nil, fmt.Errorf("header row: %w", err)
	}
	if err := t.columns(header); err != nil {
		return nil, fmt.Errorf("line 1: %w", err)
	}
	return t, nil
}

// columns makes sense of the header row.
func (t *table) columns(header []string) error {
	seen := map[string]bool{}
	for i, name := range header {
		name = strings.TrimSpace(name)
		if err := checkColumn(name, i, len(header)); err != nil {
			return err
		}
		if seen[name] {
			return fmt.Errorf("column %q stands twice", name)
		}
		seen[name] = true
		t.add(name)
	}
	if !seen["umid"] && !seen["batchId"] {
		return errors.New("there is no column umid, and none batchId: the first row names the columns")
	}
	return nil
}

func checkColumn(name string, i, n int) error {
	custom, isMetadata := strings.CutPrefix(name, metadataPrefix)
	switch {
	case isMetadata && custom != "" && utf8.ValidString(custom), slices.Contains(fields, name):
		return nil
	case name == "":
		return fmt.Errorf("column %d has no name", i+1)
	case isMetadata, name == "metadata":
		return fmt.Errorf("unknown column %q: write metadata.NAME, a column for each name", name)
	case n == 1 && strings.ContainsAny(name, ";\t|"):
		return fmt.Errorf("unknown column %q: columns are separated by commas", name)
	}
	for _, known := range fields {
		if strings.EqualFold(known, name) {
			return fmt.Errorf("unknown column %q: write %s", name, known)
		}
	}
	return fmt.Errorf("unknown column %q: a column is %s or metadata.NAME", name, strings.Join(fields, ", "))
}

func (t *table) add(name string) {
	k := text
	switch custom, isMetadata := strings.CutPrefix(name, metadataPrefix); {
	case isMetadata:
		k, name = metadata, custom
	case name == "force":
		k = flag
	}
	quoted, _ := jsontext.AppendQuote(nil, name) // is UTF-8
	t.names, t.kinds = append(t.names, string(quoted)), append(t.kinds, k)
	at := len(t.order)
	if k != metadata { // before the first of them
		at = slices.IndexFunc(t.order, func(i int) bool { return t.kinds[i] == metadata })
		if at < 0 {
			at = len(t.order)
		}
	}
	t.order = slices.Insert(t.order, at, len(t.names)-1)
}

func (t *table) next() (Row, error) {
	t.meter.left = maxRow
	cells, err := t.csv.Read()
	var malformed *csv.ParseError
	switch {
	case errors.As(err, &malformed):
		return Row{Line: malformed.StartLine, Fault: misread(malformed)}, nil
	case errors.Is(err, errOver):
		return Row{}, fmt.Errorf("line %d or a later one: %w", t.line+1, err)
	case err != nil:
		return Row{}, err
	}
	t.line, _ = t.csv.FieldPos(0)
	row := Row{Line: t.line}
	if len(cells) != len(t.names) {
		row.Fault = fault("row", "has %d cells, the header row has %d", len(cells), len(t.names))
		return row, nil
	}
	row.Value, row.Fault = t.json(cells)
	return row, nil
}

func misread(e *csv.ParseError) *worker.Rejection {
	if e.Line != e.StartLine {
		return fault("row", "which ends in line %d: %v", e.Line, e.Err)
	}
	return fault("row", "at byte %d: %v", e.Column, e.Err)
}

// json is the JSON of one row; an empty cell is an absent field.
func (t *table) json(cells []string) (value []byte, found *worker.Rejection) {
	open := false // the object metadata
	value = append(t.value[:0], '{')
	for _, i := range t.order {
		cell, k := cells[i], t.kinds[i]
		if cell == "" {
			continue
		}
		if value[len(value)-1] != '{' {
			value = append(value, ',')
		}
		if k == metadata && !open {
			value, open = append(value, `"metadata":{`...), true
		}
		value = append(append(value, t.names[i]...), ':')
		if lower := strings.ToLower(cell); k == flag && (lower == "true" || lower == "false") {
			value = append(value, lower...)
			continue
		}
		var err error
		if value, err = jsontext.AppendQuote(value, cell); err != nil && found == nil {
			found = fault(strings.Trim(t.names[i], `"`), "is not UTF-8")
		}
	}
	if open {
		value = append(value, '}')
	}
	t.value = append(value, '}')
	return t.value, found
}

// meter ends a row that has no end, such as one behind a quote that nobody closed.
type meter struct {
	from io.Reader
	left int
}

var errOver = fmt.Errorf("a row of more than %d bytes: perhaps a quote is not closed", maxRow)

// Read implements io.Reader.
func (m *meter) Read(b []byte) (int, error) {
	if m.left <= 0 {
		return 0, errOver
	}
	n, err := m.from.Read(b)
	m.left -= n
	return n, err
}
