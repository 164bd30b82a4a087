package rows

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smscancel/worker"
)

func TestWhatARowLeavesOutIsFilledIn(t *testing.T) {
	c := Checker{Campaign: "autumn", DefaultSubAccount: "acme_shop", IDPrefix: "file"}
	for value, want := range map[string]string{
		`{"umid":"A"}`:                               `{"requestId":"file-7","subAccountId":"acme_shop","campaignId":"autumn","umid":"A"}`,
		` {"batchId":"B","x":{"y":[1]}}`:             `{"requestId":"file-7","subAccountId":"acme_shop","campaignId":"autumn","batchId":"B","x":{"y":[1]}}`,
		`{"umid":"A","requestId":"r","reason":"ü"}`:  `{"subAccountId":"acme_shop","campaignId":"autumn","umid":"A","requestId":"r","reason":"ü"}`,
		`{"umid":"A","subAccountId":"acme_bank"}`:    `{"requestId":"file-7","campaignId":"autumn","umid":"A","subAccountId":"acme_bank"}`,
		`{"campaignId":"autumn","umid":"A"}`:         `{"requestId":"file-7","subAccountId":"acme_shop","campaignId":"autumn","umid":"A"}`,
		`{"umid":"A","requestId":null,"reason":"n"}`: `{"requestId":"file-7","subAccountId":"acme_shop","campaignId":"autumn","umid":"A","reason":"n"}`,
		`{"umid":"A","x":1,"x":2,"campaignId":null}`: `{"requestId":"file-7","subAccountId":"acme_shop","campaignId":"autumn","umid":"A","x":2}`,
	} {
		row := Row{Line: 7, Value: []byte(value)}
		got, found := c.Check(row)
		require.Nil(t, found, value)
		assert.JSONEq(t, want, string(got.Value))
		assert.Equal(t, value, string(row.Value), "the row itself is changed")
		parsed, err := worker.Parser{}.Parse(&worker.Record{Value: got.Value})
		require.NoError(t, err, "what is sent is not what the worker takes")
		assert.Equal(t, parsed.ID, got.ID)
		assert.Equal(t, "autumn", parsed.CampaignID)
	}
}

func TestNothingIsFilledInThatIsNotWanted(t *testing.T) {
	value := `{"umid":"A","subAccountId":"acme","requestId":"r"}`
	got, found := (&Checker{}).Check(Row{Value: []byte(value)})
	require.Nil(t, found)
	assert.Equal(t, Request{ID: "A", Value: []byte(value)}, got)
}

func TestWhatTheWorkerWouldRejectIsAFaultWithItsField(t *testing.T) {
	for value, want := range map[string]string{
		`no json`:                     "value: ",
		`{"umid":"a b"}`:              "umid: must be 1 to 64 of",
		`{}`:                          "umid: is missing",
		`{"umid":"A","batchId":"B"}`:  "batchId: must not stand beside umid",
		`{"umid":"A"}`:                "subAccountId: is missing: name it in the row, or for all rows with --default-sub-account",
		`{"umid":"A","force":"yes"}`:  "force: must be true or false",
		`{"umid":"A","metadata":[1]}`: "metadata: must be an object of strings",
		`{"umid":"A","subAccountId":"acme","scheduledAt":"tomorrow"}`:                        "scheduledAt: must be a time as in RFC 3339",
		`{"umid":"A","subAccountId":"acme","campaignId":"spring"}`:                           `campaignId: is "spring", but --campaign is "autumn"`,
		`{"umid":"A","subAccountId":"acme","x":"` + strings.Repeat("x", 70_000) + `"}`:       "value: ",
		`{"umid":"A","subAccountId":"acme","x":"` + strings.Repeat("x", 64<<10-50-10) + `"}`: "value: has 65560 bytes with what it left out, at most 65536",
	} {
		_, found := (&Checker{Campaign: "autumn", IDPrefix: "file"}).Check(Row{Line: 2, Value: []byte(value)})
		require.NotNil(t, found, value)
		assert.Contains(t, found.Error(), want)
	}
	_, found := (&Checker{}).Check(Row{Fault: fault("row", "is %s", "torn")})
	assert.EqualError(t, found, "row: is torn")
}

func TestTheIDOfARowAsItStands(t *testing.T) {
	for value, want := range map[string]string{`{"umid":"A","batchId":"B"}`: "A", `{"batchId":"B"}`: "B", `{}`: "", "no json": ""} {
		assert.Equal(t, want, IDOf([]byte(value)), value)
	}
}

func BenchmarkCheck(b *testing.B) {
	c := Checker{Campaign: "autumn", IDPrefix: "0123456789ab"}
	value := []byte(`{"umid":"9fa677ae-6b99-4215-85b3-6ee7b89d35c9","subAccountId":"acme_shop","reason":"order dropped","metadata":{"order":"A-1195"}}`)
	for b.Loop() {
		if _, found := c.Check(Row{Line: 1, Value: value}); found != nil {
			b.Fatal(found)
		}
	}
}
