package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smscancel/integration/broker"
	"smscancel/integration/simulator"
)

// checkBench is an embedded broker with good topics, and an API over TLS that has
// no messages and accepts one key for one sub-account.
type checkBench struct {
	t      *testing.T
	broker *broker.Broker
	api    *simulator.Server
	ca     string
}

const checkKey = "canary-0123456789"

func newCheckBench(t *testing.T) *checkBench {
	t.Helper()
	b, _ := emptyBroker(t)
	require.NoError(t, b.Cluster.CreateTopic(devRequestTopic, 2, nil))
	require.NoError(t, b.Cluster.CreateTopic(devOutcomeTopic, 2, map[string]string{"retention.ms": "1209600000", "message.timestamp.type": "LogAppendTime"}))
	require.NoError(t, b.Cluster.CreateTopic("compacted", 2, map[string]string{"cleanup.policy": "compact"}))
	scenario, err := simulator.LoadScenario(fileWith(t, "scenario.yaml", "defaultState: unknown\n"))
	require.NoError(t, err)
	sim, err := simulator.New(simulator.Options{Scenario: scenario, Keys: []simulator.Key{{Value: checkKey, SubAccounts: []string{"acme_shop"}}}})
	require.NoError(t, err)
	api, err := sim.Start(t.Context(), simulator.ServerOptions{TLS: true})
	require.NoError(t, err)
	t.Cleanup(api.Close)
	return &checkBench{t, b, api, fileWith(t, "ca.pem", string(api.CAPEM()))}
}

// check runs the command as it is right, with changes behind.
func (b *checkBench) check(key string, args ...string) result {
	b.t.Helper()
	got := smscancel(b.t, map[string]string{"SMSCANCEL_API_KEY": key}, append([]string{"check", "--brokers", b.broker.Addr(),
		"--api-url", b.api.URL(), "--api-ca-file", b.ca, "--sub-account", "acme_shop"}, args...)...)
	assert.NotContains(b.t, got.stdout+got.stderr, "canary", "the key is shown")
	return got
}

func TestCheckPassesWhereEverythingIsRight(t *testing.T) {
	b := newCheckBench(t)
	got := b.check(checkKey)
	assert.Equal(t, exitDone, got.code, got.stdout)
	assert.Empty(t, got.stderr)
	for line := range strings.Lines(got.stdout) {
		assert.True(t, strings.HasPrefix(line, "ok "), line)
	}
	for _, want := range []string{"TCP: ", "Kafka: no login is asked for; cluster ", "topic sms.cancel.requests: 2 partitions", "topic sms.cancel.outcomes: 2 partitions",
		"settings: as the workers need them", "group smscancel: ", "transactional id: smscancel/sms.cancel.outcomes/check", "API TLS: TLS 1.3, certificate of ",
		"API key of acme_shop: 404, code 1300: key, sub-account and route are right"} {
		assert.Contains(t, got.stdout, want)
	}
}

// Fault: one thing is wrong. Promise: exit code 1, the step that finds it says so
// with its remedy, and every other line is as good as before.
func TestCheckNamesTheOneThingThatIsWrong(t *testing.T) {
	b := newCheckBench(t)
	plain, err := simulator.New(simulator.Options{})
	require.NoError(t, err)
	foreign, err := plain.Start(t.Context(), simulator.ServerOptions{TLS: true})
	require.NoError(t, err)
	defer foreign.Close()
	otherCA := fileWith(t, "other.pem", string(foreign.CAPEM()))
	for name, c := range map[string]struct {
		key  string
		args []string
		want []string // of failed lines
	}{
		"wrong key":     {"canary-wrong-wrong", nil, []string{"API key of acme_shop: unauthorized, HTTP 401, code 1200.* -> the API does not know this key"}},
		"sub-account":   {checkKey, []string{"--sub-account", "acme_bank"}, []string{"API key of acme_bank: .* -> "}},
		"wrong CA":      {checkKey, []string{"--api-ca-file", otherCA}, []string{"API TLS: .*unknown authority.* -> give the file of the authority that issued the certificate: --api-ca-file"}},
		"no route":      {checkKey, []string{"--api-url", b.api.URL() + "/v2"}, []string{"API key of acme_shop: bad_response, HTTP 404.* -> that is no answer of this API"}},
		"nobody there":  {checkKey, []string{"--api-url", "https://127.0.0.1:1"}, []string{"API TCP: .*connection refused -> nobody listens there"}},
		"no TLS there":  {checkKey, []string{"--api-url", "https://" + b.broker.Addr(), "--timeout", "1s"}, []string{"API TLS: .* -> this port does not speak TLS"}},
		"no topic":      {checkKey, []string{"--request-topic", "nope"}, []string{"topic nope: it does not exist, or may not be seen -> create it with smscancel topics"}},
		"compaction":    {checkKey, []string{"--outcome-topic", "compacted"}, []string{"settings: topic compacted has cleanup.policy=compact"}},
		"no broker":     {checkKey, []string{"--brokers", "127.0.0.1:1"}, []string{"broker 127.0.0.1:1 TCP: .*connection refused"}},
		"no such name":  {checkKey, []string{"--brokers", "no..name:9092"}, []string{"broker no..name:9092 DNS: .*no such host -> the name is wrong"}},
		"TLS to broker": {checkKey, []string{"--kafka-tls", "--timeout", "1s"}, []string{"broker .* TLS: .* -> this listener does not speak TLS: leave out --kafka-tls"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := b.check(c.key, c.args...)
			assert.Equal(t, exitFailed, got.code)
			assert.Regexp(t, `^smscancel: [0-9]+ checks failed\n$`, got.stderr)
			var failed []string
			for line := range strings.Lines(got.stdout) {
				if strings.HasPrefix(line, "FAILED ") {
					failed = append(failed, line)
				}
			}
			require.Len(t, failed, len(c.want), got.stdout)
			for i, want := range c.want {
				assert.Regexp(t, "^FAILED   "+want, failed[i])
			}
		})
	}
}

func TestCheckTriesTheKeyOfEachSubAccountOfADirectory(t *testing.T) {
	b := newCheckBench(t)
	dir := t.TempDir()
	for name, key := range map[string]string{"acme_shop": checkKey, "a%26b": "canary-of-nobody", "..data": "canary"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(key+"\n"), 0o600))
	}
	got := smscancel(t, nil, "check", "--brokers", b.broker.Addr(), "--api-url", b.api.URL(), "--api-ca-file", b.ca, "--api-key-file", dir)
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.stdout, "ok       API key of acme_shop: 404, code 1300")
	assert.Contains(t, got.stdout, "FAILED   API key of a&b: unauthorized, HTTP 401, code 1200")
	assert.NotContains(t, got.stdout, "canary")
	got = smscancel(t, map[string]string{"SMSCANCEL_API_KEY": checkKey}, "check", "--brokers", b.broker.Addr(), "--api-url", b.api.URL(), "--api-ca-file", b.ca)
	assert.Equal(t, exitDone, got.code)
	assert.Contains(t, got.stdout, "skipped  API key: no sub-account is known to try it with -> name one with --sub-account")
}
