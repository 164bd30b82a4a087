// Package submission publishes the rows of files and streams: all of them are
// judged before the first is sent, they go out in their order, batch by batch, and
// a journal remembers how far, so that an interrupted submission can go on. It
// reads no outcomes; `smscancel submit` calls it.
package submission

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"smscancel/producer/rows"
	"smscancel/worker"
)

// Input is a file or a stream. A stream can be read once only.
type Input struct {
	Name   string
	Stream io.Reader // nil for a file

	path string
	info os.FileInfo // of the file as it was judged
	hash string      // of its content, in hex, once it was judged
}

// Stdin is the name that stands for the standard input.
const Stdin = "-"

// Open looks up an input. Pipes and devices are streams, too.
func Open(path string, stdin io.Reader) (*Input, error) {
	if path == Stdin {
		return &Input{Name: "stdin", Stream: stdin}, nil
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a directory: name a file", path)
	case !info.Mode().IsRegular():
		f, err := os.Open(path)
		return &Input{Name: path, Stream: f}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err // now, and not when others were judged
	}
	return &Input{Name: path, path: path, info: info}, f.Close()
}

// judged is a row, and what is wrong with it, if anything.
type judged struct {
	line    int
	request rows.Request
	fault   *worker.Rejection
}

// prefixLength is how much of a file's hash begins its requestIds.
const prefixLength = 12

// survey judges every row of a file and takes its hash.
func (in *Input) survey(ctx context.Context, check rows.Checker, visit func(judged) error) error {
	f, err := os.Open(in.path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	sum := sha256.New()
	check.IDPrefix = strings.Repeat("-", prefixLength) // as long as the one that is still unknown
	if err := each(ctx, in.Name, io.TeeReader(f, sum), func(rows.Row) rows.Checker { return check }, visit); err != nil {
		return err
	}
	if _, err := io.Copy(sum, f); err != nil { // what stands behind the end of what was unpacked
		return err
	}
	in.hash = hex.EncodeToString(sum.Sum(nil))
	return nil
}

// read judges the rows once more, to be sent.
func (in *Input) read(ctx context.Context, check rows.Checker, visit func(judged) error) error {
	if in.Stream != nil {
		return each(ctx, in.Name, in.Stream, streamed(check), visit)
	}
	f, err := os.Open(in.path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err == nil && (info.Size() != in.info.Size() || !info.ModTime().Equal(in.info.ModTime())) {
		err = fmt.Errorf("%s has changed since it was validated: run the command again", in.Name)
	}
	if err != nil {
		return err
	}
	check.IDPrefix = in.hash[:prefixLength]
	return each(ctx, in.Name, f, func(rows.Row) rows.Checker { return check }, visit)
}

// streamed gives each row of a stream, whose content is not known before its end,
// an id of its own content.
func streamed(check rows.Checker) func(rows.Row) rows.Checker {
	return func(row rows.Row) rows.Checker {
		sum := sha256.Sum256(row.Value)
		check.IDPrefix = "stdin-" + hex.EncodeToString(sum[:prefixLength/2])
		return check
	}
}

// each reads rows to the end and judges them.
func each(ctx context.Context, name string, from io.Reader, checker func(rows.Row) rows.Checker, visit func(judged) error) error {
	r, err := rows.NewReader(name, from)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		row, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		check := checker(row)
		j := judged{line: row.Line}
		j.request, j.fault = check.Check(row)
		if err := visit(j); err != nil {
			return err
		}
	}
}

// Key names a submission: the same files to the same place, with the same things
// filled in. It is empty where a stream is among them.
func Key(inputs []*Input, check rows.Checker, place ...string) string {
	sum := sha256.New()
	for _, in := range inputs {
		if in.Stream != nil {
			return ""
		}
		field(sum, in.hash)
	}
	for _, text := range append([]string{check.Campaign, check.DefaultSubAccount}, place...) {
		field(sum, text)
	}
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

func field(sum hash.Hash, text string) { fmt.Fprintf(sum, "%d:%s,", len(text), text) }
