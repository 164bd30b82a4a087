package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"smscancel/producer"
)

// readRows reads the requests of a file as they stand: a row that is no valid
// request is sent all the same and comes back as `rejected`. A CSV file has a
// header row that names the request's fields, and metadata.NAME for metadata;
// any other file is NDJSON, one request a line.
func readRows(path string) ([]producer.Request, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("submit: %w", err)
	}
	defer f.Close()
	read := readNDJSON
	if strings.EqualFold(filepath.Ext(path), ".csv") {
		read = readCSV
	}
	rows, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("submit %s: %w", path, err)
	}
	return rows, nil
}

func readCSV(r io.Reader) ([]producer.Request, error) {
	reader := csv.NewReader(r)
	columns, err := reader.Read()
	if err != nil {
		return nil, fmt.Errorf("header row: %w", err)
	}
	var rows []producer.Request
	for {
		cells, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		row, err := rowOf(columns, cells)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
}

// rowOf makes the JSON of one CSV row; an empty cell is an absent field.
func rowOf(columns, cells []string) (producer.Request, error) {
	fields, metadata := map[string]any{}, map[string]string{}
	for i, cell := range cells {
		name, isMetadata := strings.CutPrefix(columns[i], "metadata.")
		switch {
		case cell == "":
		case isMetadata:
			metadata[name] = cell
		case name == "force":
			fields[name] = json.RawMessage(cell) // a bool; anything else is for the worker to reject
			if !json.Valid([]byte(cell)) {
				fields[name] = cell
			}
		default:
			fields[name] = cell
		}
	}
	if len(metadata) > 0 {
		fields["metadata"] = metadata
	}
	value, err := json.Marshal(fields)
	if err != nil {
		return producer.Request{}, fmt.Errorf("encode a row: %w", err)
	}
	return producer.Request{ID: idOf(value), Value: value}, nil
}

func readNDJSON(r io.Reader) ([]producer.Request, error) {
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var rows []producer.Request
	for line := range bytes.Lines(content) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			rows = append(rows, producer.Request{ID: idOf(line), Value: line})
		}
	}
	return rows, nil
}

// idOf is the umid or batchId of a request, empty if it has none.
func idOf(value []byte) string {
	var ids struct {
		UMID    string `json:"umid"`
		BatchID string `json:"batchId"`
	}
	if json.Unmarshal(value, &ids) != nil {
		return ""
	}
	if ids.UMID != "" {
		return ids.UMID
	}
	return ids.BatchID
}
