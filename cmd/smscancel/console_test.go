package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"smscancel/integration/simulator"
)

// onTerminal runs the program with a pseudo terminal as its standard error.
func onTerminal(t *testing.T, vars map[string]string, args ...string) *running {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	r := &running{t: t}
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		io.Copy(&r.stderr, master) //nolint:errcheck // it ends when the terminal is closed
	}()
	t.Cleanup(func() {
		terminal.Close()
		<-shown
		master.Close()
	})
	return r.start(vars, terminal, args)
}

// workerOn makes arguments, with nothing that another process can be in the way of.
func workerOn(broker, api string, more ...string) []string {
	return append([]string{"worker", "--brokers", broker, "--api-url", api, "--http-addr", "127.0.0.1:0"}, more...)
}

var withKey = map[string]string{"SMSCANCEL_API_KEY": "k", "TERM": "xterm"}

func TestConsoleSaysWhatIsWrongWithABrokerThatIsDown(t *testing.T) {
	worker := onTerminal(t, withKey, workerOn("127.0.0.1:1", "http://127.0.0.1:1")...)
	line := worker.await(&worker.stderr, `(?m)^(.*waiting for Kafka.*)\r\n`)
	assert.Equal(t, exitDone, worker.end())
	assert.Regexp(t, `^\r\x1b\[K\x1b\[90m\d\d:\d\d:\d\d\x1b\[0m \x1b\[33mWRN\x1b\[0m \x1b\[1mwaiting for Kafka: .*127\.0\.0\.1:1: connect: connection refused\s*\x1b\[0m \x1b\[36mbrokers=\x1b\[0m127\.0\.0\.1:1$`, line)
}

func TestConsoleShowsARefusedKeyWithIdsInColumnsAndWithoutJSON(t *testing.T) {
	sim, err := simulator.New(simulator.Options{Keys: []simulator.Key{{Value: "another"}}})
	require.NoError(t, err)
	api, err := sim.Start(t.Context(), simulator.ServerOptions{})
	require.NoError(t, err)
	defer api.Close()
	for name, vars := range map[string]map[string]string{
		"NO_COLOR": {"NO_COLOR": "1", "SMSCANCEL_API_KEY": "k", "TERM": "xterm"},
		"dumb":     {"SMSCANCEL_API_KEY": "k", "TERM": "dumb"},
	} {
		t.Run(name, func(t *testing.T) {
			broker := brokerWithTopics(t, nil)
			worker := onTerminal(t, vars, workerOn(broker, api.URL(), "--auth-hold", "0", "--log-level", "debug")...)
			worker.await(&worker.stderr, `partition taken over`)
			outcome := roundTrip(t, broker)
			worker.await(&worker.stderr, `DBG outcome .*\n`)
			shown := worker.stderr.String()
			assert.Equal(t, exitDone, worker.end())
			assert.NotContains(t, strings.ReplaceAll(shown, "\r\x1b[K", ""), "\x1b[", "colour")
			assert.NotRegexp(t, `[{}\[\]]|=""|instance=|producerId=`, strings.ReplaceAll(shown, "\r\x1b[K", ""))
			assert.Regexp(t, `WRN only probes go out: \S.* subAccountId=acme_shop reason=auth kind=unauthorized httpStatus=401 errorId=`+outcome.Error.ErrorID+`\r\n`, shown)
			assert.Regexp(t, `DBG attempt: .* partition=sms\.cancel\.requests/0 offset=\d+ attempt=1 kind=.* took=[\d.]+m?s\r\n`, shown)
			assert.Regexp(t, `DBG outcome {22}partition=sms\.cancel\.requests/0 offset=\d+ subAccountId=acme_shop umid=`+someUMID+` status=failed attempts=1 outcomeId=`+outcome.OutcomeID+`\r\n`, shown)
			for text, field := range map[string]string{"INF status server": "addr", "INF joined the group": "assigned", "INF partition taken over": "partition"} {
				assert.Contains(t, shown, fmt.Sprintf(" %-*s %s=", len("INF ")+messageWidth, text, field))
			}
		})
	}
}

func TestConsoleNeedsATerminalForColour(t *testing.T) {
	worker := start(t, withKey, workerOn("127.0.0.1:1", "http://127.0.0.1:1", "--log-format", "console")...)
	worker.await(&worker.stderr, `waiting for Kafka: .*\n`)
	assert.Equal(t, exitDone, worker.end())
	assert.NotContains(t, worker.stderr.String(), "\x1b")
}

func TestConsoleShowsNothingAsATerminalWouldObeyIt(t *testing.T) {
	var shown strings.Builder
	log := (&RunFlags{LogFormat: "console", LogLevel: "info"}).logger(environment{stderr: &shown, lookup: lookupIn(nil)})
	log.Error().Str("error", "\x1b[2Jgone\nINF all is well").Str("subAccountId", "a\x1b[31m").Strs("brokers", []string{"b\a:1"}).
		Dict("held", zerolog.Dict().Str("campaign", "\x1b]0;title\a")).Msg("what")
	assert.Equal(t, 1, strings.Count(shown.String(), "\n"))
	assert.NotContains(t, shown.String(), "\x1b")
	assert.NotContains(t, shown.String(), "\a")
}
