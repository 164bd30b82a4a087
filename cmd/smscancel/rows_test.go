package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadCSV(t *testing.T) {
	rows, err := readCSV(strings.NewReader("umid,batchId,subAccountId,force,reason,metadata.order,metadata.shop\n" +
		"ABC,,acme,true,\"a, \"\"quoted\"\"\nreason\",A-1,\n" +
		",b1,acme,maybe,,,\n" +
		",,,,,,\n"))
	require.NoError(t, err)
	require.Len(t, rows, 3)
	assert.JSONEq(t, `{"umid":"ABC","subAccountId":"acme","force":true,"reason":"a, \"quoted\"\nreason","metadata":{"order":"A-1"}}`, string(rows[0].Value))
	assert.JSONEq(t, `{"batchId":"b1","subAccountId":"acme","force":"maybe"}`, string(rows[1].Value))
	assert.JSONEq(t, `{}`, string(rows[2].Value))
	assert.Equal(t, []string{"ABC", "b1", ""}, []string{rows[0].ID, rows[1].ID, rows[2].ID})
}

func TestReadCSVRefusesWhatHasNoRows(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "ragged": "umid,reason\na\n", "open quote": "umid\n\"a\n"} {
		_, err := readCSV(strings.NewReader(content))
		assert.Error(t, err, name)
	}
	_, err := readRows(fileWith(t, "rows.CSV", "umid\na,b\n"))
	assert.ErrorContains(t, err, "rows.CSV")
}

func TestReadNDJSONKeepsRowsAsTheyStand(t *testing.T) {
	rows, err := readNDJSON(strings.NewReader("{\"umid\":\"A\", \"x\": 1}\r\n\n{\"batchId\":\"B\"}\nno json\n{\"umid\":\"last\"}"))
	require.NoError(t, err)
	var values, ids []string
	for _, row := range rows {
		values, ids = append(values, string(row.Value)), append(ids, row.ID)
	}
	assert.Equal(t, []string{`{"umid":"A", "x": 1}`, `{"batchId":"B"}`, "no json", `{"umid":"last"}`}, values)
	assert.Equal(t, []string{"A", "B", "", "last"}, ids)
}

func TestReadRowsGoesByTheFileName(t *testing.T) {
	for name, content := range map[string]string{"a.csv": "umid\nX\n", "a.CSV": "umid\nX\n", "a.ndjson": `{"umid":"X"}`, "a": `{"umid":"X"}`} {
		rows, err := readRows(fileWith(t, name, content))
		require.NoError(t, err, name)
		require.Len(t, rows, 1, name)
		assert.Equal(t, "X", rows[0].ID, name)
	}
	_, err := readRows("/no/such.csv")
	assert.ErrorIs(t, err, os.ErrNotExist)
}
