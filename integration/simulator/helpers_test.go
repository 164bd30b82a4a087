package simulator

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds waits for things that must happen; it is never waited out
// when they do.
const patience = time.Minute

func newSim(t testing.TB, o Options) *Simulator {
	t.Helper()
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func start(t testing.TB, s *Simulator, o ServerOptions) *Server {
	t.Helper()
	server, err := s.Start(context.Background(), o)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	return server
}

// umid makes the nth UMID of a test.
func umid(n int) string { return fmt.Sprintf("aaaaaaaa-bbbb-cccc-dddd-%012x", n) }

func messagePath(sub, id string) string { return "/api/v1/subaccounts/" + sub + "/messages/" + id }

func batchPath(sub, id string) string { return "/api/v1/subaccounts/" + sub + "/messages/batch/" + id }

// newRequest is a DELETE with the key "secret".
func newRequest(t testing.TB, ctx context.Context, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer secret")
	return req
}

// call serves one DELETE without a network.
func call(t testing.TB, s *Simulator, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, newRequest(t, context.Background(), path))
	return w
}

// newClient never re-uses a connection that a fault has spoilt for another test.
func newClient(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func bodyOf(t testing.TB, res *http.Response) string {
	t.Helper()
	defer func() { require.NoError(t, res.Body.Close()) }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return string(body)
}

func awaitCalls(t testing.TB, s *Simulator, cond func(Summary) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, s.Await(ctx, cond))
}

func scenario(t testing.TB, text string) *Scenario {
	t.Helper()
	parsed, err := ParseScenario(strings.NewReader(text))
	require.NoError(t, err)
	return parsed
}

// advance moves the clock of a synctest bubble.
func advance(d time.Duration) { <-time.After(d) }
