package rows

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// all reads a text to its end: of each row its line, and its value or its fault.
func all(t *testing.T, name, content string) (lines []string, err error) {
	t.Helper()
	r, err := NewReader(name, strings.NewReader(content))
	for err == nil {
		var row Row
		if row, err = r.Next(); err == nil {
			lines = append(lines, fmt.Sprintf("%d %s", row.Line, row.Value))
			if row.Fault != nil {
				lines[len(lines)-1] = fmt.Sprintf("%d %v", row.Line, row.Fault)
			}
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return lines, err
}

func TestCSVMakesOneObjectOfEachRow(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		want    []string
	}{
		"any order, any field": {"metadata.order,umid,batchId,subAccountId,force,reason,metadata.shop\nA-1,ABC,,acme,TRUE,\"a, \"\"b\"\"\",\n,,b1,acme,maybe,,S\n",
			[]string{`2 {"umid":"ABC","subAccountId":"acme","force":true,"reason":"a, \"b\"","metadata":{"order":"A-1"}}`,
				`3 {"batchId":"b1","subAccountId":"acme","force":"maybe","metadata":{"shop":"S"}}`}},
		"BOM, CRLF, blank lines, spaces": {"\uFEFFumid, reason\r\nA,x\r\n\r\nB,\r\n", []string{`2 {"umid":"A","reason":"x"}`, `4 {"umid":"B"}`}},
		"line breaks in quotes":          {"umid,reason\nA,\"one\ntwo\"\nB,x\n", []string{`2 {"umid":"A","reason":"one\ntwo"}`, `4 {"umid":"B","reason":"x"}`}},
		"nothing in a row":               {"umid,reason\n,\n", []string{`2 {}`}},
		"only a header":                  {"umid\n", nil},
		"faults, and what follows them": {"umid,reason\nA\nB,x\"y\nC,\"x\"y\nD,\xff\nE,ok\n", []string{`2 row: has 1 cells, the header row has 2`,
			`3 row: at byte 4: bare " in non-quoted-field`, `4 row: at byte 5: extraneous or missing " in quoted-field`, `5 reason: is not UTF-8`, `6 {"umid":"E","reason":"ok"}`}},
		"a quote that is not closed": {"umid,reason\nA,\"x\nB,y\n", []string{`2 row: which ends in line 3: extraneous or missing " in quoted-field`}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := all(t, "rows.csv", c.content)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestAWrongHeaderRowIsExplained(t *testing.T) {
	for header, want := range map[string]string{
		"":                       "line 1: the header row is missing: it names the columns, such as umid,subAccountId",
		"umid,umid\n":            `line 1: column "umid" stands twice`,
		"umid,metadata.a,x\n":    `line 1: unknown column "x": a column is umid, batchId, subAccountId, requestId, requestedAt, scheduledAt, campaignId, reason, force or metadata.NAME`,
		"UMID\n":                 `line 1: unknown column "UMID": write umid`,
		"umid,metadata\n":        `line 1: unknown column "metadata": write metadata.NAME, a column for each name`,
		"umid,\n":                "line 1: column 2 has no name",
		"umid;reason\n":          `line 1: unknown column "umid;reason": columns are separated by commas`,
		"reason\n":               "line 1: there is no column umid, and none batchId: the first row names the columns",
		"\xff\xfeu\x00":          "it is UTF-16: save it as UTF-8",
		"\x1f\x8b but not gzip!": "it begins like gzip: gzip: invalid header",
	} {
		_, err := all(t, "rows.csv", header)
		assert.EqualError(t, err, "rows.csv: "+want, "%q", header)
	}
}

func TestNDJSONKeepsRowsAsTheyStand(t *testing.T) {
	got, err := all(t, "rows.ndjson", "\uFEFF{\"umid\":\"A\", \"x\": 1}\r\n\n  \n{\"batchId\":\"B\"}\nno json\n{\"umid\":\"last\"}")
	require.NoError(t, err)
	assert.Equal(t, []string{`1 {"umid":"A", "x": 1}`, `4 {"batchId":"B"}`, "5 no json", `6 {"umid":"last"}`}, got)
}

func TestTheFormatGoesByNameElseByTheBeginning(t *testing.T) {
	for name, content := range map[string]string{
		"a.csv": "umid\nX\n", "a.CSV": "umid\nX\n", "a": "umid\nX\n", "-": "\uFEFFumid\nX\n",
		"a.ndjson": "\n{\"umid\":\"X\"}", "b": `{"umid":"X"}`, "a.txt": "\n {\"umid\":\"X\"}",
	} {
		for zipped, text := range map[string]string{"": content, ".gz": gzipped(content)} {
			got, err := all(t, name+zipped, text)
			require.NoError(t, err, name+zipped)
			require.Len(t, got, 1, name+zipped)
			assert.Contains(t, got[0], `{"umid":"X"}`, name+zipped)
		}
	}
	got, err := all(t, "gzip by another name.csv", gzipped("umid\nX\n"))
	require.NoError(t, err)
	assert.Equal(t, []string{`2 {"umid":"X"}`}, got)
}

func gzipped(content string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(content))
	_ = w.Close()
	return b.String()
}

func TestDamageIsReportedAndNotTakenForTheEnd(t *testing.T) {
	whole := gzipped(strings.Repeat(`{"umid":"X"}`+"\n", 1000))
	_, err := all(t, "a.ndjson", whole[:len(whole)-10])
	assert.EqualError(t, err, "a.ndjson: unexpected EOF")
	_, err = Open("/no/such.csv")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// Fault: rows without an end. Promise: they are told apart from their file's
// others, or named, and never held in memory whole.
func TestARowWithoutAnEndCostsNoMemory(t *testing.T) {
	long := `{"umid":"A","reason":"` + strings.Repeat("x", 3*maxRow) + `"}`
	got, err := all(t, "a.ndjson", `{"umid":"1"}`+"\n"+long+"\n"+`{"umid":"3"}`+"\n"+long)
	require.NoError(t, err)
	tooLong := "row: has more than 1048576 bytes, at most 65536 are allowed"
	assert.Equal(t, []string{`1 {"umid":"1"}`, "2 " + tooLong, `3 {"umid":"3"}`, "4 " + tooLong}, got)
	got, err = all(t, "a.csv", "umid,reason\nA,x\nB,\""+strings.Repeat("B,x\n", maxRow))
	assert.Equal(t, []string{`2 {"umid":"A","reason":"x"}`}, got)
	assert.EqualError(t, err, "a.csv: line 3 or a later one: a row of more than 1048576 bytes: perhaps a quote is not closed")
}

func TestOpenReadsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.csv.gz")
	require.NoError(t, os.WriteFile(path, []byte(gzipped("umid\nX\n")), 0o600))
	r, err := Open(path)
	require.NoError(t, err)
	row, err := r.Next()
	require.NoError(t, err)
	assert.Equal(t, `{"umid":"X"}`, string(row.Value))
	require.NoError(t, r.Close())
}
