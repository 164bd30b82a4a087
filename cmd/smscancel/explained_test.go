package main

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every command that talks to Kafka says where it failed and what to do.
func TestTroubleWithKafkaNamesBrokerAndRemedy(t *testing.T) {
	file := fileWith(t, "rows.csv", "umid,subAccountId\n"+someUMID+",acme_shop\n")
	broker := brokerWithTopics(t, nil)
	for _, args := range [][]string{
		{"outcomes"}, {"outcomes", "--summary"}, {"outcomes", "--verify"}, {"redrive", "--dry-run"}, {"topics"},
		{"submit", file, "--state-dir", t.TempDir()}, {"submit", file, "--wait", "--state-dir", t.TempDir()},
	} {
		for name, c := range map[string]struct{ brokers, want string }{
			"nobody listens": {"127.0.0.1:1", `^smscancel: no broker of 127\.0\.0\.1:1 could be used: .*connection refused: check --brokers and the --kafka flags\n$`},
			"no Kafka":       {hangsUp(t), `^smscancel: no broker of 127\.0\.0\.1:\d+ could be used: .*: check --brokers and the --kafka flags\n$`},
		} {
			got := smscancel(t, nil, append(args, "--brokers", c.brokers)...)
			assert.Equal(t, exitFailed, got.code, "%v: %s", args, name)
			assert.Regexp(t, c.want, got.stderr, "%v: %s", args, name)
			assert.NotContains(t, got.stderr, "kafka.(", "%v: %s", args, name)
		}
		if args[0] == "topics" {
			continue // it makes them
		}
		topics := []string{"--brokers", broker, "--request-topic", "nope", "--outcome-topic", "nope.either"}
		got := smscancel(t, nil, append(args, topics...)...)
		assert.Equal(t, exitFailed, got.code, "%v", args)
		assert.Regexp(t, `^smscancel: topic nope(\.either)?: .*: it is not on 127\.0\.0\.1:\d+, or may not be seen: create it with smscancel topics, or name another one\n$`, got.stderr, "%v", args)
	}
}

// hangsUp is the address of something that takes connections and ends them.
func hangsUp(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return l.Addr().String()
}
