package simulator

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

const (
	anUUID  = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`
	shortTS = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\dZ`
	longTS  = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00`
)

func errorBody(code, message, timestamp string) string {
	return `\{"code":` + code + `,"message":"` + message + `","errorId":"` + anUUID + `","timestamp":"` + timestamp + `"\}`
}

var (
	badUMID  = errorBody("1000", `Invalid umid\.`, shortTS)
	badKey   = errorBody("1200", "Request was not authenticated properly", longTS)
	foreign  = errorBody("1001", "Provided subAccountId doesn't belongs to your account", longTS)
	notFound = errorBody("1300", `Message not found\.`, shortTS)
)

func TestDocumentedAnswersAreGivenToTheLetter(t *testing.T) {
	const sent, unknown, others, past = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b",
		"00000000-0000-0000-0000-00000000000c", "00000000-0000-0000-0000-00000000000d"
	rules := `
messages:
  ` + sent + `: {state: sent}
  ` + unknown + `: {state: unknown}
  ` + others + `: {subAccount: other}
  ` + past + `: {state: scheduled, scheduledAt: 2020-01-01T00:00:00Z}
batches:
  ` + unknown + `: {state: unknown}
  ` + sent + `: {state: sent}
  ` + others + `: {size: 10}
subAccounts:
  stranger: {foreign: true}`
	keys := []Key{{Value: "secret"}, {Value: "limited", SubAccounts: []string{"acme"}}}

	for _, c := range []struct {
		name, method, path, auth string
		status                   int
		body                     string
	}{
		{"scheduled message", "DELETE", messagePath("acme", umid(1)), "Bearer secret", 200, `\{"cancelledCount":1\}`},
		{"any UUID version, upper case", "DELETE", messagePath("acme", "FBB239F1-2EB1-EA11-AFA9-00155DB6EAF4"), "Bearer secret", 200, `\{"cancelledCount":1\}`},
		{"sent message", "DELETE", messagePath("acme", sent), "Bearer secret", 200, `\{"cancelledCount":0\}`},
		{"message past its time", "DELETE", messagePath("acme", past), "Bearer secret", 200, `\{"cancelledCount":0\}`},
		{"unknown message", "DELETE", messagePath("acme", unknown), "Bearer secret", 404, notFound},
		{"message of another sub-account", "DELETE", messagePath("acme", others), "Bearer secret", 404, notFound},
		{"message of its sub-account", "DELETE", messagePath("other", others), "Bearer secret", 200, `\{"cancelledCount":1\}`},
		{"no UUID", "DELETE", messagePath("acme", "not-a-uuid"), "Bearer secret", 400, badUMID},
		{"UUID without dashes", "DELETE", messagePath("acme", "fbb239f12eb1ea11afa900155db6eaf4"), "Bearer secret", 400, badUMID},
		{"UUID with a wrong letter", "DELETE", messagePath("acme", "gbb239f1-2eb1-ea11-afa9-00155db6eaf4"), "Bearer secret", 400, badUMID},
		{"escaped slash stays in its segment", "DELETE", messagePath("acme", "batch%2F"+umid(1)), "Bearer secret", 400, badUMID},
		{"escaped dots stay in their segment", "DELETE", messagePath("acme", "%2E%2E"), "Bearer secret", 400, badUMID},
		{"word batch as umid", "DELETE", messagePath("acme", "batch"), "Bearer secret", 400, badUMID},
		{"batch", "DELETE", batchPath("acme", others), "Bearer secret", 200, `\{"cancelledCount":10\}`},
		{"unknown batch", "DELETE", batchPath("acme", unknown), "Bearer secret", 200, `\{"cancelledCount":0\}`},
		{"sent batch", "DELETE", batchPath("acme", sent), "Bearer secret", 200, `\{"cancelledCount":0\}`},
		{"no key", "DELETE", messagePath("acme", umid(1)), "", 401, badKey},
		{"wrong key", "DELETE", messagePath("acme", umid(1)), "Bearer wrong", 401, badKey},
		{"wrong scheme", "DELETE", messagePath("acme", umid(1)), "Basic secret", 401, badKey},
		{"scheme in lower case", "DELETE", messagePath("acme", umid(1)), "bearer secret", 200, `\{"cancelledCount":1\}`},
		{"key of that sub-account", "DELETE", messagePath("acme", umid(1)), "Bearer limited", 200, `\{"cancelledCount":1\}`},
		{"key of another sub-account", "DELETE", messagePath("other", umid(1)), "Bearer limited", 401, foreign},
		{"foreign sub-account", "DELETE", messagePath("stranger", umid(1)), "Bearer secret", 401, foreign},
		{"key is checked before the sub-account", "DELETE", messagePath("stranger", umid(1)), "Bearer wrong", 401, badKey},
		{"sub-account against the pattern", "DELETE", messagePath("a%20b", umid(1)), "Bearer secret", 401, foreign},
		{"sub-account with an ampersand", "DELETE", messagePath("a%26b", umid(1)), "Bearer secret", 200, `\{"cancelledCount":1\}`},
		{"key is checked before the umid", "DELETE", messagePath("acme", "x"), "Bearer wrong", 401, badKey},
		{"other method", "GET", messagePath("acme", umid(1)), "Bearer secret", 405, `(?s)<html>.*405 Method Not Allowed.*`},
		{"other path", "DELETE", "/api/v2/subaccounts/acme/messages/" + umid(1), "Bearer secret", 404, `(?s)<html>.*404 Not Found.*`},
		{"slash at the end", "DELETE", messagePath("acme", umid(1)) + "/", "Bearer secret", 404, `(?s)<html>.*`},
		{"root", "GET", "/", "", 404, `(?s)<html>.*`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(t, Options{Keys: keys, Scenario: scenario(t, rules)})
			server := start(t, s, ServerOptions{})
			req, err := http.NewRequestWithContext(context.Background(), c.method, server.URL()+c.path, http.NoBody)
			require.NoError(t, err)
			if c.auth != "" {
				req.Header.Set("Authorization", c.auth)
			}
			res, err := newClient(t).Do(req)
			require.NoError(t, err)
			require.Regexp(t, "^"+c.body+"$", bodyOf(t, res))
			require.Equal(t, c.status, res.StatusCode)

			recorded := s.Calls()
			require.Len(t, recorded, 1)
			require.Equal(t, c.status, recorded[0].Status, "the ledger tells what was answered")
			require.Equal(t, c.path, recorded[0].Path)
		})
	}
}

func TestRepeatedDeleteCancelsNothingMore(t *testing.T) {
	s := newSim(t, Options{})
	require.Equal(t, `{"cancelledCount":1}`, call(t, s, messagePath("acme", umid(0xa))).Body.String())
	require.Equal(t, `{"cancelledCount":0}`, call(t, s, messagePath("acme", umid(0xa))).Body.String())
	upper := "AAAAAAAA-BBBB-CCCC-DDDD-00000000000A"
	require.Equal(t, `{"cancelledCount":0}`, call(t, s, messagePath("acme", upper)).Body.String(), "ids are the same in any case")
	require.Equal(t, Message{ID: umid(0xa), State: Cancelled, Calls: 3, Cancelled: 1, CancelledBy: 1}, s.Message(upper))
}

func TestRepeatedDeleteIsNotFoundIfAskedFor(t *testing.T) {
	s := newSim(t, Options{RepeatNotFound: true})
	require.Equal(t, 200, call(t, s, messagePath("acme", umid(1))).Code)
	require.Equal(t, 404, call(t, s, messagePath("acme", umid(1))).Code)
	require.Equal(t, 200, call(t, s, batchPath("acme", umid(1))).Code)
	require.Equal(t, 200, call(t, s, batchPath("acme", umid(1))).Code, "a batch has no 404")
}

func TestBatchSizeFollowsFromTheId(t *testing.T) {
	size := func(o Options, id string) int {
		var body struct{ CancelledCount int }
		require.NoError(t, json.Unmarshal(call(t, newSim(t, o), batchPath("acme", id)).Body.Bytes(), &body))
		return body.CancelledCount
	}
	first := size(Options{}, umid(0xab))
	require.Equal(t, first, size(Options{}, "AAAAAAAA-BBBB-CCCC-DDDD-0000000000AB"))
	require.NotEqual(t, first, size(Options{}, umid(0xac)))
	for n := range 500 {
		got := size(Options{}, umid(n))
		require.True(t, got >= 2 && got <= MaxBatch, got)
	}
	require.Equal(t, 77, size(Options{BatchSize: 77}, umid(1)))
}

func TestEveryErrorHasItsOwnIdAndThePresentTime(t *testing.T) {
	s := newSim(t, Options{})
	seen := map[string]bool{}
	for range 5 {
		var body struct {
			ErrorID   uuid.UUID
			Timestamp time.Time
		}
		before := time.Now().Truncate(time.Second)
		require.NoError(t, json.Unmarshal(call(t, s, messagePath("acme", "x")).Body.Bytes(), &body))
		require.False(t, seen[body.ErrorID.String()])
		seen[body.ErrorID.String()] = true
		require.False(t, body.Timestamp.Before(before) || body.Timestamp.After(time.Now()))
	}
}

func TestEveryErrorStatusHasItsDocumentedBody(t *testing.T) {
	for status, want := range map[int]string{
		400: badUMID,
		401: badKey,
		403: errorBody("1201", ".+", longTS),
		404: notFound,
		426: errorBody("1014", `TLS 1\.3\+ is required .*`, longTS),
		429: errorBody("429", ".+", longTS),
		500: errorBody("2000", "Internal server error", longTS),
		503: errorBody("503", "Service Unavailable", longTS),
	} {
		rep := errorReply(status, 0, "")
		require.Regexp(t, regexp.MustCompile("^"+want+"$"), string(rep.body))
		require.Equal(t, status, rep.status)
	}
	require.Equal(t, "TLS/1.3", errorReply(426, 0, "").header["Upgrade"])
	require.Equal(t, "1", errorReply(429, 0, "").header["Retry-After"])
}

func TestARequestBodyIsIgnored(t *testing.T) {
	s := newSim(t, Options{})
	w := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodDelete, messagePath("acme", umid(1)), http.NoBody)
	req.Header.Set("Authorization", "Bearer x")
	s.Handler().ServeHTTP(w, req)
	require.Equal(t, 200, w.Code)
	require.Equal(t, jsonType, w.Header().Get("Content-Type"))
}
