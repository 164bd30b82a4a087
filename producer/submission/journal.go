package submission

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"smscancel/producer"
)

// Journal remembers how far a submission came: a file with a line for each batch
// that was acknowledged, written and synced after that.
type Journal struct {
	Begun        time.Time
	Acknowledged int64           // rows
	Spans        []producer.Span // where they stand
	Outcomes     []int64         // by partition: where the outcome topic ended when it begun; nil if unknown

	path string
	file *os.File
}

// entry is a line of the journal: the first has a version, the others an advance.
type entry struct {
	Version  int             `json:"v,omitempty"`
	Begun    time.Time       `json:"begun,omitzero"`
	Outcomes []int64         `json:"outcomes,omitempty"`
	Rows     int64           `json:"rows,omitempty"` // acknowledged, all before included
	Spans    []producer.Span `json:"spans,omitempty"`
}

const journalVersion = 1

// OpenJournal opens the journal of a submission, see [Key], or begins one;
// outcomes are noted in a new one.
func OpenJournal(dir, key string, outcomes []int64) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	j := &Journal{path: filepath.Join(dir, key+".journal")}
	var err error
	if j.file, err = os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	begun, end, err := j.read()
	if err == nil { // what is behind was cut off by a crash
		err = errors.Join(j.file.Truncate(end), seek(j.file, end))
	}
	if err == nil && !begun {
		j.Begun, j.Outcomes = time.Now(), outcomes
		err = errors.Join(j.write(entry{Version: journalVersion, Begun: j.Begun, Outcomes: outcomes}), syncDir(dir))
	}
	if err != nil {
		j.file.Close()
		return nil, err
	}
	return j, nil
}

func seek(f *os.File, to int64) error {
	_, err := f.Seek(to, io.SeekStart)
	return err
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// read returns where the last whole line ends, and whether there is one.
func (j *Journal) read() (begun bool, end int64, err error) {
	lines := bufio.NewReader(j.file)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return begun, end, nil
		}
		if err != nil {
			return begun, end, err
		}
		var e entry
		if json.Unmarshal(bytes.TrimSpace(line), &e) != nil {
			return begun, end, nil
		}
		if !begun && e.Version != journalVersion {
			return false, 0, fmt.Errorf("%s is of another version (%d): remove it", j.path, e.Version)
		}
		if !begun {
			j.Begun, j.Outcomes = e.Begun, e.Outcomes
		}
		begun, end = true, end+int64(len(line))
		j.Acknowledged, j.Spans = max(j.Acknowledged, e.Rows), append(j.Spans, e.Spans...)
	}
}

// advance notes that the first rows were acknowledged, the last of them there.
func (j *Journal) advance(rows int64, spans []producer.Span) error {
	j.Acknowledged = rows
	return j.write(entry{Rows: rows, Spans: spans})
}

func (j *Journal) write(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err = j.file.Write(append(line, '\n')); err != nil {
		return err
	}
	return j.file.Sync()
}

// Close leaves the journal for a later run.
func (j *Journal) Close() error { return j.file.Close() }

// Remove ends the journal: the submission is over.
func (j *Journal) Remove() error { return errors.Join(j.file.Close(), os.Remove(j.path)) }
