package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/broker"
	"smscancel/integration/simulator"
	"smscancel/worker"
)

const someUMID = "2f9b6c1e-3d4a-4b5c-8d6e-7f8091a2b3c4"

// anyPorts are flags of dev that no other process can be in the way of.
var anyPorts = []string{"dev", "--broker-port", "0", "--api-addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0", "--log-level", "error"}

func TestDevSubmitEndsWhenEveryRequestHasItsOutcome(t *testing.T) {
	dev := start(t, nil, append(anyPorts, "--submit", "../../integration/testdata/campaign.csv")...)
	require.Equal(t, exitDone, dev.wait(), dev.stderr.String())
	assert.Contains(t, dev.stdout.String(), "submitted 316 requests from ../../integration/testdata/campaign.csv\n")
	got := counts(dev.stdout.String())
	for status, want := range map[string]string{"total": "316", "failed": "36", "duplicate": "33", "expired": "5", "rejected": "8"} {
		assert.Equal(t, want, got[status], status)
	}
	// A call that times out on a busy machine may move one from the first to the second.
	cancelled, _ := strconv.Atoi(got["cancelled"])
	not, _ := strconv.Atoi(got["not_cancelled"])
	assert.Equal(t, 234, cancelled+not, "cancelled and not_cancelled")
}

func TestDevSubmitFailsWhenAnOutcomeIsMissing(t *testing.T) {
	scenario := fileWith(t, "scenario.yaml", "messages:\n  "+someUMID+": {answers: [{status: 503, repeat: 100000}]}\n")
	file := fileWith(t, "rows.ndjson", `{"umid":"`+someUMID+`","subAccountId":"acme_shop"}`+"\n")
	dev := start(t, nil, append(anyPorts, "--submit", file, "--scenario", scenario)...)
	dev.await(&dev.stdout, `submitted 1 requests`)
	assert.Equal(t, exitFailed, dev.end())
	assert.Contains(t, dev.stderr.String(), "1 of 1 requests have no outcome")
	assert.Equal(t, "0", counts(dev.stdout.String())["total"])
}

func TestDevStaysUpForOtherClientsUntilItIsStopped(t *testing.T) {
	dev := start(t, nil, anyPorts...)
	address := dev.await(&dev.stdout, `(?m)^broker  (127\.0\.0\.1:\d+)\n`)
	api := dev.await(&dev.stdout, `(?m)^api     (http://127\.0\.0\.1:\d+)\n`)
	status := dev.await(&dev.stdout, `(?m)^status  (http://127\.0\.0\.1:\d+)\n`)
	dev.await(&dev.stdout, `Ctrl-C ends it`)
	outcome := roundTrip(t, address)
	assert.Equal(t, worker.StatusCancelled, outcome.Status)
	assert.Equal(t, someUMID, outcome.UMID)
	assert.Contains(t, get(t, api+"/admin/calls"), someUMID)
	assert.Equal(t, "ok\n", get(t, status+"/healthz"))
	assert.Contains(t, get(t, status+"/api/status"), `"partitions"`)
	assert.Equal(t, exitDone, dev.end(), dev.stderr.String())
}

func TestDevReplacesTakenPorts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	address := taken.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	dev := start(t, nil, "dev", "--broker-port", port, "--api-addr", address, "--http-addr", address, "--log-level", "error")
	broker := dev.await(&dev.stdout, `(?m)^broker  (\S+)\n`)
	dev.await(&dev.stdout, `Ctrl-C ends it`)
	assert.NotContains(t, dev.stdout.String(), address)
	assert.Equal(t, worker.StatusCancelled, roundTrip(t, broker).Status)
	assert.Equal(t, exitDone, dev.end(), dev.stderr.String())
}

func TestSimulateServesUntilItIsStopped(t *testing.T) {
	config := fileWith(t, "c.yaml", "listen: 127.0.0.1:0\nadmin-listen: 127.0.0.1:0\nlatency: 0s..1ms\n")
	sim := start(t, nil, "simulate", "--tls", "--config", config)
	api := sim.await(&sim.stdout, `(?m)^api    (https://127\.0\.0\.1:\d+)\n`)
	admin := sim.await(&sim.stdout, `(?m)^admin  (http://127\.0\.0\.1:\d+/admin/)\n`)
	ca := sim.await(&sim.stdout, `(?s)(-----BEGIN CERTIFICATE.*END CERTIFICATE-----)\n`)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(ca)))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, api+"/api/v1/subaccounts/acme_shop/messages/"+someUMID, nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer anything")
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, res.StatusCode)
	assert.Contains(t, string(body), `"cancelledCount"`)
	assert.Contains(t, get(t, admin+"calls"), someUMID)
	assert.Equal(t, exitDone, sim.end(), sim.stderr.String())
}

func TestRunningWorkerShowsNoSecret(t *testing.T) {
	const canary = "canary-4711-0815"
	kafkaAddr := brokerWithTopics(t, nil)
	sim, err := simulator.New(simulator.Options{Keys: []simulator.Key{{Value: "another"}}})
	require.NoError(t, err)
	api, err := sim.Start(t.Context(), simulator.ServerOptions{})
	require.NoError(t, err)
	defer api.Close()
	process := start(t, nil, "worker", "--brokers", kafkaAddr, "--api-url", api.URL(), "--api-key-file", fileWith(t, "key", canary),
		"--http-addr", "127.0.0.1:0", "--log-level", "debug", "--log-format", "json", "--auth-hold", "0")
	status := process.await(&process.stderr, `"addr":"(\S+?)"`)
	outcome := roundTrip(t, kafkaAddr)
	assert.Equal(t, worker.StatusFailed, outcome.Status)
	assert.Equal(t, worker.KindUnauthorized, outcome.Error.Kind)
	shown, err := json.Marshal(outcome)
	require.NoError(t, err)
	pages := get(t, "http://"+status+"/metrics") + get(t, "http://"+status+"/api/status")
	assert.Equal(t, exitDone, process.end())
	assert.NotContains(t, string(shown)+pages+process.stdout.String()+process.stderr.String(), canary)
}

func TestExitCodes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	key := map[string]string{"SMSCANCEL_API_KEY": "k"}
	compacted := brokerWithTopics(t, map[string]string{"cleanup.policy": "compact"})
	for name, c := range map[string]struct {
		code   int
		args   []string
		stderr string
	}{
		"help":                    {exitDone, []string{"--help"}, ""},
		"version":                 {exitDone, []string{"version"}, ""},
		"no command":              {exitUsage, nil, "name a command: worker, dev"},
		"wrong flag":              {exitUsage, []string{"version", "--config", "x"}, "unknown flag --config"},
		"unknown fault":           {exitUsage, []string{"simulate", "--listen", "127.0.0.1:0", "--fault", "nonsense=1"}, "nonsense"},
		"simulator's port taken":  {exitFailed, []string{"simulate", "--listen", taken.Addr().String()}, "address already in use"},
		"status port taken":       {exitFailed, []string{"worker", "--brokers", compacted, "--http-addr", taken.Addr().String()}, "address already in use"},
		"file to submit missing":  {exitUsage, append(anyPorts, "--submit", "/no/such.csv"), "no such file"},
		"scenario missing":        {exitUsage, append(anyPorts, "--scenario", "/no/such.yaml"), `--scenario: "/no/such.yaml": stat`},
		"compacted outcome topic": {exitFailed, []string{"worker", "--brokers", compacted, "--http-addr="}, "the outcome topic breaks the guarantees"},
	} {
		t.Run(name, func(t *testing.T) {
			got := smscancel(t, key, c.args...)
			assert.Equal(t, c.code, got.code, got.stderr)
			assert.Contains(t, got.stderr, c.stderr)
		})
	}
}

// An unreachable broker is weather: the worker says so, is not ready, and a
// stop is a clean one.
func TestWorkerWaitsForKafka(t *testing.T) {
	process := start(t, map[string]string{"SMSCANCEL_API_KEY": "k"}, "worker", "--brokers", "127.0.0.1:1", "--http-addr", "127.0.0.1:0")
	status := process.await(&process.stderr, `"addr":"(\S+?)"`)
	process.await(&process.stderr, `"message":"waiting for Kafka"`)
	res, err := http.Get("http://" + status + "/readyz")
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	assert.Equal(t, exitDone, process.end(), process.stderr.String())
}

// brokerWithTopics is an embedded broker with the default topics, the outcome
// topic with these settings.
func brokerWithTopics(t *testing.T, settings map[string]string) string {
	t.Helper()
	b, err := broker.Start(broker.Options{})
	require.NoError(t, err)
	t.Cleanup(b.Close)
	transport := &kafka.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := &kafka.Client{Addr: kafka.TCP(b.Addr()), Transport: transport}
	all := map[string]string{"retention.ms": "1209600000"}
	for name, value := range settings {
		all[name] = value
	}
	require.NoError(t, broker.CreateTopics(t.Context(), client, 1,
		broker.Topic{Name: devRequestTopic, Partitions: 1}, broker.Topic{Name: devOutcomeTopic, Partitions: 1, Settings: all}))
	return b.Addr()
}

// roundTrip publishes a request and returns its outcome, with another Kafka
// client than the product's.
func roundTrip(t *testing.T, address string) *worker.Outcome {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumeTopics(devOutcomeTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer client.Close()
	value := fmt.Sprintf(`{"umid":%q,"subAccountId":"acme_shop"}`, someUMID)
	require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Topic: devRequestTopic, Key: []byte(someUMID), Value: []byte(value)}).FirstErr())
	for {
		fetches := client.PollFetches(t.Context())
		require.NoError(t, fetches.Err0())
		for _, record := range fetches.Records() {
			outcome, err := worker.DecodeOutcome(record.Value)
			require.NoError(t, err)
			assert.Equal(t, someUMID, string(record.Key))
			return outcome
		}
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, res.StatusCode, url)
	return string(body)
}
