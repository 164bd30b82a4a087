package simulator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAScenarioFileIsReadInFull(t *testing.T) {
	got, err := LoadScenario(filepath.Join("testdata", "scenario.yaml"))
	require.NoError(t, err)
	require.Equal(t, Scheduled, got.DefaultState)
	require.Equal(t, MessageRule{State: Scheduled, ScheduledAt: time.Date(2020, 6, 18, 6, 42, 57, 0, time.UTC), SubAccount: "acme"},
		got.Messages["11111111-0000-0000-0000-000000000003"])
	body := `{"cancelledCount":"1"}`
	require.Equal(t, []Answer{
		{Status: 503, RetryAfter: "date+3s", Repeat: 2},
		{Status: 429, RetryAfter: "2"},
		{Status: 400, Code: 1002, Message: "Invalid MSISDN format"},
		{Hang: After},
		{Reset: Before, Delay: 5 * time.Millisecond},
		{Truncated: true},
		{HTML: true, Status: 200, Effect: true},
		{Body: &body, ContentType: "text/plain", Header: map[string]string{"X-Cache": "HIT"}},
		{},
	}, got.Messages["11111111-0000-0000-0000-000000000004"].Answers)
	require.Equal(t, 500, got.Batches["22222222-0000-0000-0000-000000000001"].Size)
	require.Equal(t, map[string]SubAccountRule{
		"foreign-one": {Foreign: true},
		"broken-one":  {Answer: Answer{Status: 500}},
		"slow-one":    {Answer: Answer{Delay: 20 * time.Millisecond}, Limit: 10},
	}, got.SubAccounts)
	require.Equal(t, &Faults{
		Rates:      map[string]float64{"503": 0.25, "hang-after": 0.01, "502-after": 0.01},
		RetryAfter: "1",
		Latency:    Latency{Min: time.Millisecond, Max: 5 * time.Millisecond},
		Seed:       7,
	}, got.Faults)
	require.Equal(t, uint64(7), newSim(t, Options{Scenario: got}).Faults().Seed)
	require.Equal(t, uint64(8), newSim(t, Options{Scenario: got, Faults: Faults{Seed: 8}}).Faults().Seed, "options beat the file")
}

func TestAnEmptyScenarioIsValid(t *testing.T) {
	require.Equal(t, &Scenario{}, scenario(t, "# nothing\n"))
}

func TestMistakesInAScenarioAreNamed(t *testing.T) {
	answer := func(a string) string { return "messages: {m-1: {answers: [{}, " + a + "]}}" }
	for text, want := range map[string]string{
		"mesages: {}":                                    "field mesages not found",
		"messages: {m-1: {stat: sent}}":                  "field stat not found",
		"messages: {m-1: {}, m-1: {}}":                   "already defined",
		"messages: {m-1: {}, M-1: {}}":                   "message m-1 stands twice",
		"messages: {m-1: {state: gone}}":                 `message m-1: state is "gone"`,
		"defaultState: lost":                             `state is "lost"`,
		"batches: {b-1: {size: 10001}}":                  "batch b-1: size is 10001",
		"subAccounts: {acme: {limit: -1}}":               "sub-account acme: limit is -1",
		"subAccounts: {acme: {status: 99}}":              "sub-account acme: status is 99",
		"subAccounts: {acme: {repeat: 1}}":               "repeat is for the answers of a message",
		"subAccounts: {acme: {statuss: 1}}":              "field statuss not found",
		"faults: {rates: {boom: 1}}":                     `faults: unknown fault "boom"`,
		answer("{status: 100}"):                          "message m-1: answer 2: status is 100",
		answer("{hang: during}"):                         `hang is "during", must be before or after`,
		answer("{hang: before, reset: after}"):           "only one of hang, reset",
		answer("{hang: before, status: 500}"):            "hang sends no answer",
		answer("{reset: before, effect: true}"):          "write reset: after",
		answer("{truncated: true, huge: true}"):          "truncated does not go with huge",
		answer("{html: true, code: 7}"):                  "code and message need an error status",
		answer("{code: 7}"):                              "code and message need an error status",
		answer("{noCount: true, status: 404}"):           "noCount is a success",
		answer("{redirect: true, status: 200}"):          "redirect needs a status of 300 to 399",
		answer("{delay: -1s}"):                           "must not be negative",
		answer("{status: 503, retryAfter: date+soon}"):   "needs a duration like date+3s",
		answer("{empty: true, noCount: true}"):           "only one of empty, no-count",
		"subAccounts: {acme: {hang: after, code: 1000}}": "sub-account acme: hang sends no answer",
	} {
		_, err := ParseScenario(strings.NewReader(text))
		require.ErrorContains(t, err, want, text)
	}
	_, err := LoadScenario("no-such-file.yaml")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAllMistakesInOptionsAreNamedAtOnce(t *testing.T) {
	_, err := New(Options{
		Keys: []Key{{}}, Limits: Limits{Total: -1}, BatchSize: -1, MaxCalls: -1,
		Faults:   Faults{Rates: map[string]float64{"boom": 1}},
		Scenario: &Scenario{DefaultState: "lost"},
	})
	for _, want := range []string{"key 1 is empty", "limits", "batch size", "max calls", "boom", "lost"} {
		require.ErrorContains(t, err, want)
	}
}

func TestTheDefaultStateIsThatOfIdsNotDeclared(t *testing.T) {
	s := newSim(t, Options{Scenario: scenario(t, "defaultState: unknown\nmessages: {"+umid(1)+": {state: scheduled}}")})
	require.Equal(t, 200, call(t, s, messagePath("acme", umid(1))).Code)
	require.Equal(t, 404, call(t, s, messagePath("acme", umid(2))).Code)
	require.Equal(t, Unknown, s.Message(umid(3)).State)
}

func TestOnlyWhatWasTouchedIsRemembered(t *testing.T) {
	s := newSim(t, Options{})
	require.Equal(t, Message{ID: umid(1), State: Scheduled}, s.Message(umid(1)))
	require.Empty(t, s.Messages(), "a look is no touch")
	call(t, s, messagePath("acme", umid(2)))
	require.Len(t, s.Messages(), 1)
}

func TestAnInvalidDeclarationChangesNothing(t *testing.T) {
	s := newSim(t, Options{})
	require.Error(t, s.Declare(Scenario{DefaultState: Unknown, Faults: &Faults{Rates: map[string]float64{"x": 1}}}))
	require.Equal(t, 200, call(t, s, messagePath("acme", umid(2))).Code)
}

func TestKeysAreReadFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	require.NoError(t, os.WriteFile(path, []byte("# keys\n\nfirst\n second  acme other \n"), 0o600))
	keys, err := LoadKeys(path)
	require.NoError(t, err)
	require.Equal(t, []Key{{Value: "first", SubAccounts: []string{}}, {Value: "second", SubAccounts: []string{"acme", "other"}}}, keys)
	_, err = LoadKeys(path + "x")
	require.ErrorIs(t, err, os.ErrNotExist)
}
