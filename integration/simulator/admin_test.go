package simulator

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func serve(s *Simulator, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func admin(t *testing.T, s *Simulator, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	return serve(s, httptest.NewRequest(method, "/admin/"+path, strings.NewReader(body)))
}

func decodeLines[T any](t *testing.T, w *httptest.ResponseRecorder) []T {
	t.Helper()
	require.Equal(t, 200, w.Code)
	require.Equal(t, "application/x-ndjson", w.Header().Get("Content-Type"))
	var all []T
	for lines := bufio.NewScanner(w.Body); lines.Scan(); {
		var v T
		require.NoError(t, json.Unmarshal(lines.Bytes(), &v))
		all = append(all, v)
	}
	return all
}

func TestTheAdminEndpointShowsLedgerAndMessages(t *testing.T) {
	s := newSim(t, Options{})
	const calls = 2500 // more than two pages
	for n := range calls {
		call(t, s, messagePath("acme", umid(n%100)))
	}
	call(t, s, batchPath("acme", umid(1)))

	all := decodeLines[Call](t, admin(t, s, "GET", "calls", ""))
	require.Len(t, all, calls+1)
	for i, c := range all {
		require.Equal(t, int64(i+1), c.Sequence)
	}
	require.Len(t, decodeLines[Call](t, admin(t, s, "GET", "calls?after=2400", "")), 101)
	require.Len(t, decodeLines[Call](t, admin(t, s, "GET", "calls?id="+strings.ToUpper(umid(1)), "")), 26)
	require.Len(t, decodeLines[Call](t, admin(t, s, "GET", "calls?after=1000&id="+umid(1), "")), 16)
	require.Equal(t, 400, admin(t, s, "GET", "calls?after=x", "").Code)

	require.Len(t, decodeLines[Message](t, admin(t, s, "GET", "messages", "")), 101)
	require.Equal(t, []Message{
		{ID: umid(1), State: Cancelled, Calls: 25, Cancelled: 1, CancelledBy: 2},
		{ID: umid(1), Batch: true, State: Cancelled, Calls: 1, Cancelled: s.Batch(umid(1)).Cancelled, CancelledBy: calls + 1},
	}, decodeLines[Message](t, admin(t, s, "GET", "messages?id="+umid(1), "")))
	require.Empty(t, decodeLines[Message](t, admin(t, s, "GET", "messages?id="+umid(500), "")))

	var sum Summary
	require.NoError(t, json.Unmarshal(admin(t, s, "GET", "summary", "").Body.Bytes(), &sum))
	require.Equal(t, s.Summary(), sum)
	require.Equal(t, int64(calls+1), sum.Statuses[200], "the admin's own requests are no calls")
	require.Contains(t, admin(t, s, "GET", "", "").Body.String(), "PUT  /admin/faults")
}

func TestTheAdminEndpointSetsFaultsAndScenarios(t *testing.T) {
	s := newSim(t, Options{})
	require.Equal(t, 204, admin(t, s, "PUT", "faults", `{"rates":{"503":1},"latency":"1ms"}`).Code)
	require.Equal(t, 503, call(t, s, messagePath("acme", umid(1))).Code)
	require.Equal(t, "rates:\n    \"503\": 1\nlatency:\n    fixed: 1ms\n", admin(t, s, "GET", "faults", "").Body.String())

	w := admin(t, s, "PUT", "faults", "rates: {boom: 1}")
	require.Equal(t, 400, w.Code)
	require.Contains(t, w.Body.String(), `unknown fault "boom"`)
	require.Equal(t, 503, call(t, s, messagePath("acme", umid(1))).Code, "a mistake changes nothing")

	require.Equal(t, 204, admin(t, s, "PUT", "faults", "").Code)
	require.Equal(t, 204, admin(t, s, "POST", "scenario", "messages: {"+umid(2)+": {state: unknown}}").Code)
	require.Equal(t, 400, admin(t, s, "POST", "scenario", "mesages: {}").Code)
	require.Equal(t, 404, call(t, s, messagePath("acme", umid(2))).Code)
	require.Equal(t, 204, admin(t, s, "POST", "reset", "").Code)
	require.Equal(t, 200, call(t, s, messagePath("acme", umid(2))).Code)
	require.Equal(t, 405, admin(t, s, "DELETE", "faults", "").Code)
}

func TestTheAdminEndpointCanHaveAListenerOfItsOwn(t *testing.T) {
	s := newSim(t, Options{})
	get := func(url string) int {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, http.NoBody)
		require.NoError(t, err)
		res, err := newClient(t).Do(req)
		require.NoError(t, err)
		bodyOf(t, res)
		return res.StatusCode
	}
	shared := start(t, s, ServerOptions{})
	require.Equal(t, 200, get(shared.AdminURL()+"summary"))
	apart := start(t, s, ServerOptions{AdminAddr: "127.0.0.1:0"})
	require.Equal(t, 200, get(apart.AdminURL()+"summary"))
	require.Equal(t, 404, get(apart.URL()+"/admin/summary"))
	require.NotContains(t, apart.AdminURL(), apart.Addr())
}
