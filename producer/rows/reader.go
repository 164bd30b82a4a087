// Package rows reads cancel requests from files: CSV with a header row or
// NDJSON, plain or gzipped, in bounded memory. Reader takes rows as they stand,
// Checker judges them by the worker's own rules and fills in what they leave out.
// It sends nothing; `smscancel submit` and `smscancel dev --submit` call it.
package rows

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"

	"smscancel/worker"
)

const (
	// maxRow is the longest row that is kept. A request has 64 KiB at most, so
	// what is longer is at fault anyway.
	maxRow = 1 << 20

	bufferSize = 256 << 10
)

// Row is one request as its file gives it.
type Row struct {
	Line  int    // where it begins, counted from 1
	Value []byte // its JSON, valid until the next row is read; nil if there is none

	// Fault is why the row is none that can be read; Value is then as close to it
	// as JSON comes, or nil.
	Fault *worker.Rejection
}

// Reader gives the rows of one file.
type Reader struct {
	name    string
	rows    interface{ next() (Row, error) }
	closers []io.Closer
}

// Open opens a file; by its name or else its beginning it is CSV or NDJSON.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(path, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.closers = append(r.closers, f)
	return r, nil
}

// NewReader reads what is not a file; name stands for it in errors.
func NewReader(name string, from io.Reader) (*Reader, error) {
	r := &Reader{name: name}
	if err := r.open(bufio.NewReaderSize(from, bufferSize)); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

func (r *Reader) open(from *bufio.Reader) error {
	name := strings.ToLower(r.name)
	if begin, _ := from.Peek(2); bytes.Equal(begin, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(from)
		if err != nil {
			return fmt.Errorf("it begins like gzip: %w", err)
		}
		r.closers = append(r.closers, unzipped)
		from, name = bufio.NewReaderSize(unzipped, bufferSize), strings.TrimSuffix(name, ".gz")
	}
	begin, err := from.Peek(len(byteOrderMark))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	switch {
	case bytes.HasPrefix(begin, []byte{0xff, 0xfe}), bytes.HasPrefix(begin, []byte{0xfe, 0xff}):
		return errors.New("it is UTF-16: save it as UTF-8")
	case bytes.HasPrefix(begin, byteOrderMark):
		from.Discard(len(byteOrderMark)) //nolint:errcheck // it was peeked at
	}
	if isCSV(filepath.Ext(name), from) {
		r.rows, err = newCSV(from)
		return err
	}
	r.rows = &ndjson{from: from}
	return nil
}

var byteOrderMark = []byte("\uFEFF")

// isCSV goes by a name that says so, else by what the file begins with.
func isCSV(ext string, from *bufio.Reader) bool {
	switch ext {
	case ".csv":
		return true
	case ".ndjson", ".jsonl", ".json":
		return false
	}
	for n := 1; ; n++ { // no more than need be: a stream may have no more to say yet
		begin, err := from.Peek(n)
		if err != nil {
			return false
		}
		if first := begin[n-1]; strings.IndexByte(" \t\r\n", first) < 0 {
			return first != '{' && first != '['
		}
	}
}

// Next is the next row, or io.EOF. Another error means that the rest of the file
// cannot be read.
func (r *Reader) Next() (Row, error) {
	row, err := r.rows.next()
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s: %w", r.name, err)
	}
	return row, err
}

// Name is that of the file.
func (r *Reader) Name() string { return r.name }

// Close closes the file.
func (r *Reader) Close() error {
	var errs []error
	for _, c := range r.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func fault(field, format string, args ...any) *worker.Rejection {
	return &worker.Rejection{Field: field, Reason: fmt.Sprintf(format, args...)}
}

func tooLong() *worker.Rejection {
	return fault("row", "has more than %d bytes, at most %d are allowed", maxRow, worker.MaxRequestSize)
}
