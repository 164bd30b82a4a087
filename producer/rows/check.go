package rows

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"smscancel/worker"
)

// Checker judges rows as the worker will, and fills in what they leave out.
type Checker struct {
	Campaign          string // of rows that name none; one that names another is at fault
	DefaultSubAccount string // of rows that name none; empty = those are at fault
	IDPrefix          string // of the requestId of rows that have none
}

// Request is a row that can be sent.
type Request struct {
	ID    string // umid or batchId, as the row wrote it
	Value []byte
}

// Names that no row can give: so it shows which fields the parser filled in.
var (
	noTopic      = strings.Repeat("-", 200) // a requestId has 128 bytes at most
	noSubAccount = "?"
)

// Check returns the request of a row, which shares no memory with it, or what is
// wrong with it.
func (c *Checker) Check(row Row) (Request, *worker.Rejection) {
	if row.Fault != nil {
		return Request{}, row.Fault
	}
	parser := worker.Parser{DefaultSubAccount: noSubAccount}
	parsed, err := parser.Parse(&worker.Record{Topic: noTopic, Value: row.Value})
	if rejection := (*worker.Rejection)(nil); errors.As(err, &rejection) {
		return Request{}, &worker.Rejection{Field: rejection.Field, Reason: rejection.Reason}
	}
	missing, found := c.missing(parsed, row.Line)
	if found != nil {
		return Request{}, found
	}
	value := with(row.Value, missing)
	if len(value) > worker.MaxRequestSize {
		return Request{}, fault("value", "has %d bytes with what it left out, at most %d are allowed", len(value), worker.MaxRequestSize)
	}
	return Request{ID: parsed.ID, Value: value}, nil
}

// missing is what a row leaves out, as the beginning of a JSON object.
func (c *Checker) missing(r *worker.Request, line int) ([]byte, *worker.Rejection) {
	missing := []byte{'{'}
	add := func(name, value string) {
		missing, _ = jsontext.AppendQuote(append(missing, `"`+name+`":`...), value) // checked or made here
		missing = append(missing, ',')
	}
	if strings.HasPrefix(r.RequestID, noTopic) {
		add("requestId", fmt.Sprintf("%s-%d", c.IDPrefix, line))
	}
	switch {
	case r.SubAccountID != noSubAccount:
	case c.DefaultSubAccount == "":
		return nil, fault("subAccountId", "is missing: name it in the row, or for all rows with --default-sub-account")
	default:
		add("subAccountId", c.DefaultSubAccount)
	}
	switch {
	case c.Campaign == "" || r.CampaignID == c.Campaign:
	case r.CampaignID != "":
		return nil, fault("campaignId", "is %q, but --campaign is %q", r.CampaignID, c.Campaign)
	default:
		add("campaignId", c.Campaign)
	}
	return missing, nil
}

// with is a JSON object with members put before its own. It may be changed where
// a member of the same name is null, which is as if it were not there, but would
// stand twice.
func with(object, members []byte) []byte {
	if bytes.Contains(object, []byte("null")) {
		object = withoutNulls(object)
	}
	begin := bytes.IndexByte(object, '{') + 1
	value := make([]byte, 0, len(members)+len(object))
	return append(append(value, members...), object[begin:]...)
}

func withoutNulls(object []byte) []byte {
	members := map[string]jsontext.Value{}
	if json.Unmarshal(object, &members, jsontext.AllowDuplicateNames(true)) != nil {
		return object // cannot be: it was read before
	}
	for name, v := range members {
		if v.Kind() == jsontext.KindNull {
			delete(members, name)
		}
	}
	shorter, err := json.Marshal(members, json.Deterministic(true))
	if err != nil {
		return object
	}
	return shorter
}

// IDOf is the umid or batchId of a row as it stands, empty if it has none.
func IDOf(value []byte) string {
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
