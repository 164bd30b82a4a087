package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"smscancel/integration/simulator"
	"smscancel/worker"
)

const traceKey = "canary-key-1234"

// traced is a worker with traces, its broker and its API.
type traced struct {
	*scene
	*running
	api      *simulator.Simulator
	apiURL   string
	vars     map[string]string
	outcomes *kgo.Client
}

// newTraced makes everything but the worker. The variables are those of
// OpenTelemetry: its SDK reads them from the process.
func newTraced(t *testing.T, scenario string, vars map[string]string) *traced {
	t.Helper()
	declared, err := simulator.ParseScenario(strings.NewReader(scenario))
	require.NoError(t, err)
	sim, err := simulator.New(simulator.Options{Scenario: declared})
	require.NoError(t, err)
	server, err := sim.Start(t.Context(), simulator.ServerOptions{})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	w := &traced{scene: newScene(t, 1, 1), api: sim, apiURL: server.URL(), vars: map[string]string{"SMSCANCEL_API_KEY": traceKey}}
	w.outcomes = w.client(kgo.ConsumeTopics(devOutcomeTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for name, value := range vars {
		t.Setenv(name, value)
		w.vars[name] = value
	}
	return w
}

func (w *traced) work(args ...string) {
	w.running = start(w.scene.t, w.vars, append([]string{"worker", "--brokers", w.addr, "--api-url", w.apiURL, "--http-addr=",
		"--retry-initial", "1ms", "--log-format", "json"}, args...)...)
}

// ask publishes a request with headers, given as name and value in turn.
func (w *traced) ask(value string, headers ...string) {
	rec := &kgo.Record{Topic: devRequestTopic, Value: []byte(value)}
	for i := 0; i < len(headers); i += 2 {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	w.put(rec)
}

// answers are the headers of the next n outcomes, by the offset of the request.
func (w *traced) answers(n int) map[int64]map[string]string {
	t := w.scene.t
	t.Helper()
	found := map[int64]map[string]string{}
	for len(found) < n {
		fetches := w.outcomes.PollFetches(t.Context())
		require.NoError(t, fetches.Err0())
		for _, rec := range fetches.Records() {
			if len(rec.Value) == 0 {
				continue
			}
			o, err := worker.DecodeOutcome(rec.Value)
			require.NoError(t, err)
			headers := map[string]string{"status": string(o.Status), "id": o.OutcomeID, "requestId": o.RequestID}
			for _, h := range rec.Headers {
				headers[h.Key] = string(h.Value)
			}
			found[o.Source.Offset] = headers
		}
	}
	return found
}

func umid(n int) string       { return fmt.Sprintf("2f9b6c1e-3d4a-4b5c-8d6e-7f80910000%02d", n) }
func traceID(n int) string    { return fmt.Sprintf("4bf92f3577b34da6a3ce929d0e0e00%02d", n) }
func spanID(n int) string     { return fmt.Sprintf("00f067aa0ba900%02d", n) }
func parentOf(n int) string   { return "00-" + traceID(n) + "-" + spanID(n) + "-01" }
func requestOf(n int) string  { return fmt.Sprintf(`{"umid":%q,"subAccountId":"acme_shop"}`, umid(n)) }
func continues(s span) string { return "00-" + s.trace + "-" + s.id + "-01" }
func failed(s span) bool      { return s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR }
func within(inner, outer span) bool {
	return inner.StartTimeUnixNano >= outer.StartTimeUnixNano && inner.EndTimeUnixNano <= outer.EndTimeUnixNano
}

func TestTheTraceGoesFromRequestToOutcome(t *testing.T) {
	c := newCollector(t)
	w := newTraced(t, "messages:\n  "+umid(1)+": {answers: [{status: 503}]}\n  "+umid(7)+": {state: unknown}\n",
		map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.version=7"})
	w.ask(requestOf(1), "traceparent", parentOf(1), "tracestate", "vendor=x")
	w.ask(requestOf(1), "traceparent", parentOf(2))
	w.ask(`{"umid":`, "traceparent", parentOf(3))
	w.ask(`{"specversion":"1.0","id":"e-4","source":"s","type":"t","traceparent":"`+parentOf(4)+`","data":`+
		requestOf(4)[:len(requestOf(4))-1]+`,"scheduledAt":"2020-01-01T00:00:00Z"}}`, "content-type", "application/cloudevents+json")
	w.ask(requestOf(5)[:len(requestOf(5))-1]+`,"campaignId":"wrong"}`, "traceparent", parentOf(5))
	w.ask(requestOf(6), "traceparent", strings.TrimSuffix(parentOf(6), "1")+"0")
	w.ask(requestOf(7), "traceparent", parentOf(7))
	w.ask(requestOf(8))
	w.work("--config", fileWith(t, "c.yaml", "withdrawn-campaigns: [wrong]\n"))
	got := w.answers(8)
	require.Equal(t, exitDone, w.end(), w.stderr.String()) // and with the stop come the last spans

	process := c.only(spanID(1))
	assert.Equal(t, "process "+devRequestTopic, process.Name)
	assert.Equal(t, tracepb.Span_SPAN_KIND_CONSUMER, process.Kind)
	assert.Equal(t, traceID(1), process.trace)
	assert.Equal(t, "vendor=x", process.TraceState)
	client := process.attributes["messaging.client.id"]
	assert.Equal(t, map[string]any{
		"messaging.system": "kafka", "messaging.operation.name": "process", "messaging.operation.type": "process",
		"messaging.destination.name": devRequestTopic, "messaging.destination.partition.id": "0", "messaging.kafka.offset": 0,
		"messaging.consumer.group.name": "smscancel", "messaging.client.id": client, "messaging.message.id": got[0]["requestId"],
		"smscancel.outcome.id": got[0]["id"], "smscancel.outcome.status": "cancelled", "smscancel.attempts": 2, "smscancel.ambiguous": false,
	}, process.attributes)
	assert.False(t, failed(process))
	for name, want := range map[string]any{"service.name": "smscancel", "service.version": "7", "service.instance.id": client,
		"deployment.environment.name": "test"} {
		assert.Equal(t, want, process.resource[name], name)
	}
	assert.Equal(t, continues(process), got[0]["traceparent"])
	assert.Equal(t, "vendor=x", got[0]["tracestate"])
	checkAttempts(t, w, c.below(process.id), process)

	for offset, want := range map[int]map[string]any{
		1: {"smscancel.outcome.status": "duplicate"},
		2: {"smscancel.outcome.status": "rejected", "smscancel.outcome.kind": "invalid_request", "error.type": "invalid_request"},
		3: {"smscancel.outcome.status": "expired", "messaging.message.id": "e-4"},
		4: {"smscancel.outcome.status": "failed", "smscancel.outcome.kind": "withdrawn", "error.type": "withdrawn"},
	} {
		alone := c.only(spanID(offset + 1))
		assert.Equal(t, traceID(offset+1), alone.trace)
		assert.Equal(t, continues(alone), got[int64(offset)]["traceparent"], offset)
		assert.Empty(t, c.below(alone.id), "no call was made for offset %d", offset)
		assert.Equal(t, want["error.type"] != nil, failed(alone), offset)
		want["messaging.kafka.offset"], want["smscancel.attempts"] = offset, 0
		for name, value := range want {
			assert.Equal(t, value, alone.attributes[name], "offset %d, %s", offset, name)
		}
	}
	unsampled := got[5]["traceparent"]
	assert.Regexp(t, "^00-"+traceID(6)+"-[0-9a-f]{16}-00$", unsampled, "unsampled, and of the same trace")
	assert.Empty(t, c.below(spanID(6)))
	assert.Regexp(t, "^00-"+traceID(6)+"-[0-9a-f]{16}-00$", w.api.CallsOf(umid(6))[0].TraceParent)

	notFound := c.only(spanID(7))
	assert.True(t, failed(notFound))
	assert.Equal(t, "not_found", notFound.attributes["smscancel.outcome.kind"])
	assert.Equal(t, 404, c.only(notFound.id).attributes["http.response.status_code"])

	root := c.only("")
	assert.Equal(t, 7, root.attributes["messaging.kafka.offset"])
	assert.Equal(t, continues(root), got[7]["traceparent"])
	n, sent := c.all()
	assert.Equal(t, 7+4, n, "records that are sampled, and their calls")
	assert.NotContains(t, sent, traceKey)
}

// checkAttempts looks at the spans of a request that was answered with 503, then 200.
func checkAttempts(t *testing.T, w *traced, attempts []span, process span) {
	t.Helper()
	calls := w.api.CallsOf(umid(1))
	require.Len(t, attempts, 2)
	require.Len(t, calls, 2)
	host, port, err := net.SplitHostPort(strings.TrimPrefix(w.apiURL, "http://"))
	require.NoError(t, err)
	for i, a := range attempts {
		assert.Equal(t, "DELETE", a.Name)
		assert.Equal(t, tracepb.Span_SPAN_KIND_CLIENT, a.Kind)
		assert.Equal(t, process.trace, a.trace)
		assert.True(t, within(a, process))
		assert.Equal(t, continues(a), calls[i].TraceParent, "what the API is told")
		want := map[string]any{
			"http.request.method": "DELETE", "server.address": host, "server.port": atoi(t, port),
			"url.full":                  w.apiURL + "/api/v1/subaccounts/acme_shop/messages/" + umid(1),
			"http.response.status_code": 503, "error.type": "server_error",
		}
		if i == 1 {
			delete(want, "error.type")
			want["http.response.status_code"], want["http.request.resend_count"] = 200, 1
		}
		assert.Equal(t, want, a.attributes)
		assert.Equal(t, i == 0, failed(a))
	}
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	var n int
	_, err := fmt.Sscan(s, &n)
	require.NoError(t, err)
	return n
}

func TestWithoutTracesTheContextIsCarriedOn(t *testing.T) {
	c := newCollector(t)
	for name, vars := range map[string]map[string]string{
		"nothing asked":    {},
		"disabled":         {"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_SDK_DISABLED": "TRUE"},
		"no exporter":      {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": c.URL + "/v1/traces", "OTEL_TRACES_EXPORTER": "none"},
		"another exporter": {"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_TRACES_EXPORTER": "zipkin"},
		"no URL":           {"OTEL_EXPORTER_OTLP_ENDPOINT": strings.TrimPrefix(c.URL, "http://")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTraced(t, "", vars)
			w.ask(requestOf(1), "traceparent", parentOf(1), "tracestate", "vendor=x")
			w.work()
			got := w.answers(1)
			require.Equal(t, exitDone, w.end())
			assert.Equal(t, parentOf(1), got[0]["traceparent"])
			assert.Equal(t, "vendor=x", got[0]["tracestate"])
			assert.Equal(t, parentOf(1), w.api.Calls()[0].TraceParent)
			assert.Equal(t, name == "another exporter" || name == "no URL", strings.Contains(w.stderr.String(), "no traces"), w.stderr.String())
		})
	}
	n, _ := c.all()
	assert.Zero(t, n)
}

// A collector that cannot be used costs spans, and nothing else.
func TestTheWorkGoesOnWithoutTheCollector(t *testing.T) {
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	refusing.Close()
	for name, endpoint := range map[string]string{"refuses": "http://" + refusing.Addr().String(), "hangs": hangingCollector(t)} {
		t.Run(name, func(t *testing.T) {
			w := newTraced(t, "", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_EXPORT_TIMEOUT": "100",
				"OTEL_BSP_SCHEDULE_DELAY": "1", "OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"})
			w.work()
			for n := range 20 {
				w.ask(requestOf(n), "traceparent", parentOf(n))
			}
			assert.Len(t, w.answers(20), 20)
			w.await(&w.stderr, "traces cannot be sent")
			for n := range 20 { // more exports fail, and nobody is told again
				w.ask(requestOf(20+n), "traceparent", parentOf(20+n))
			}
			assert.Len(t, w.answers(20), 20)
			require.Equal(t, exitDone, w.end(), w.stderr.String())
			assert.Equal(t, 1, strings.Count(w.stderr.String(), "traces cannot be sent"), w.stderr.String())
		})
	}
}

func TestTheLastSpansHaveWhatTheStopHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := time.Now()
		assert.Equal(t, flushTime, flushWithin(time.Minute, nil))
		assert.Equal(t, time.Second, flushWithin(time.Second, nil))
		time.Sleep(20 * time.Second)
		assert.Equal(t, flushTime, flushWithin(25*time.Second, &stopped))
		time.Sleep(3 * time.Second)
		assert.Equal(t, 2*time.Second, flushWithin(25*time.Second, &stopped))
	})
}

// A request that a stop hands back has calls, but no outcome.
func TestARequestHandedBackHasItsSpan(t *testing.T) {
	c := newCollector(t)
	w := newTraced(t, "messages:\n  "+umid(1)+": {answers: [{status: 503, repeat: 1000}]}\n", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL})
	w.ask(requestOf(1), "traceparent", parentOf(1))
	w.work("--retry-initial", "1h", "--retry-max-interval", "1h", "--retry-max-elapsed", "0")
	require.NoError(t, w.api.Await(t.Context(), func(s simulator.Summary) bool { return s.Calls > 0 }))
	require.Equal(t, exitDone, w.end(), w.stderr.String())
	process := c.only(spanID(1))
	assert.Equal(t, true, process.attributes["smscancel.handed_back"])
	assert.NotContains(t, process.attributes, "smscancel.outcome.status")
	assert.Len(t, c.below(process.id), process.attributes["smscancel.attempts"].(int))
	assert.NotEmpty(t, c.below(process.id))
}

// The log tells of a mistake in the variables, and keeps a token to itself.
func TestMistakesInTheVariablesShowNoToken(t *testing.T) {
	c := newCollector(t)
	w := newTraced(t, "", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_EXPORTER_OTLP_HEADERS": "Bearer canary-token",
		"OTEL_TRACES_SAMPLER": "nonsense", "OTEL_RESOURCE_ATTRIBUTES": "canary"})
	w.ask(requestOf(1), "traceparent", parentOf(1))
	w.work()
	w.answers(1)
	require.Equal(t, exitDone, w.end())
	c.only(spanID(1))
	shown := w.stderr.String()
	assert.Contains(t, shown, `"message":"OpenTelemetry's variables"`)
	assert.NotContains(t, shown, "canary-token")
	for line := range strings.Lines(shown) {
		assert.True(t, json.Valid([]byte(line)), line)
	}
}

// A collector that never answers costs no outcome, and the last spans are given
// up in time for the stop.
func TestAStopDoesNotWaitForTheCollector(t *testing.T) {
	w := newTraced(t, "", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": hangingCollector(t), "OTEL_BSP_EXPORT_TIMEOUT": "3600000",
		"OTEL_BSP_SCHEDULE_DELAY": "1", "OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"})
	for n := range 20 { // far more than the queue holds
		w.ask(requestOf(n))
	}
	w.work("--drain-timeout", "1s")
	assert.Len(t, w.answers(20), 20)
	require.Equal(t, exitDone, w.end(), w.stderr.String())
	assert.Contains(t, w.stderr.String(), "the last traces were not sent in time")
}

// The log tells when the collector stops taking spans, and when it takes them again.
func TestTheLogTellsWhenSpansAreTakenAgain(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	w := newTraced(t, "", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": server.URL, "OTEL_BSP_SCHEDULE_DELAY": "1"})
	w.work()
	w.ask(requestOf(1))
	w.await(&w.stderr, "traces cannot be sent")
	w.answers(1)
	broken.Store(false)
	w.ask(requestOf(2))
	w.await(&w.stderr, "traces are sent again")
	require.Equal(t, exitDone, w.end())
	assert.Equal(t, 1, strings.Count(w.stderr.String(), "traces cannot be sent"))
}

// hangingCollector takes exports and never answers. It returns its address.
func hangingCollector(t *testing.T) string {
	t.Helper()
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	t.Cleanup(func() { close(over); server.Close() })
	return server.URL
}
