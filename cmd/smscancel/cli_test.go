package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// result is what one run left.
type result struct {
	code   int
	stdout string
	stderr string
}

// smscancel runs the program with arguments and environment variables, in a
// context that ends with the test.
func smscancel(t *testing.T, vars map[string]string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), environment{args: args, lookup: lookupIn(vars), stdout: &stdout, stderr: &stderr})
	return result{code, stdout.String(), stderr.String()}
}

func lookupIn(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

// fileWith writes a file of the test's own.
func fileWith(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mustRefuse runs the program and compares all that it says. FILE stands for
// the configuration file.
func mustRefuse(t *testing.T, file string, vars map[string]string, args []string, want []string) {
	t.Helper()
	if file != "" {
		file = fileWith(t, "config.yaml", file)
		args = append(args, "--config", file)
	}
	got := smscancel(t, vars, args...)
	text := ""
	for _, line := range want {
		text += "smscancel: " + strings.ReplaceAll(line, "FILE", file) + "\n"
	}
	assert.Equal(t, result{code: exitUsage, stderr: text}, got)
}

const (
	noBroker    = `--brokers: "": name at least one broker as HOST:PORT`
	allCommands = `name a command: worker, dev, check, topics, submit, outcomes, redrive, simulate, version, completion or help; "smscancel help" says what each does`
	noKey       = `--api-key-file: "": name a file with the API key, or set SMSCANCEL_API_KEY`
)

func TestAllMistakesAreReportedAtOnceAndOnlyOnce(t *testing.T) {
	mustRefuse(t, `# a comment
brokers: [good:9092, bad]
no-such-key: secret-looking
kafka-tls: perhaps
paused: {campaigns: [autumn, [x]], sub-accounts: x, color: red}
withdrawn-campaigns: [autumn, ""]
sub-accounts:
  acme_shop: {rate-limit: -1}
  x: {rate-limit: 5}
  acme_two: 5
  acme_three: {rate-limit: 5, color: red}
api-key: abc
`, map[string]string{"SMSCANCEL_CONCURRENCY": "many", "SMSCANCEL_API_KEY": "k1"},
		[]string{"worker", "--no-such-flag", "3", "stray", "--attempt-timeout=10", "--window", "x", "--rate-limit", "-1",
			"--retry-max-attempts=-2", "--session-timeout=-1s", "--api-url", "http://example.com", "--default-sub-account", "no spaces",
			"--request-topic", "a", "--request-topic", "a", "--outcome-topic", "a", "--kafka-cert-file", "c.pem",
			"--kafka-sasl-mechanism", "plain", "--api-key-file", "k", "--log-level", "loud", "--http-addr", "nowhere", "--group"},
		[]string{
			`unknown flag --no-such-flag`,
			`unexpected argument stray`,
			`--config: FILE: line 3: unknown key "no-such-key"`,
			`--config: FILE: line 12: unknown key "api-key"`,
			`--kafka-tls: "perhaps" is neither true nor false`,
			`--group: its value is missing`,
			`--attempt-timeout: "10" is no duration; write it like 500ms, 10s, 15m or 24h`,
			`--window: "x" is no whole number`,
			`--concurrency: "many" is no whole number`,
			`--brokers: "bad": each broker is HOST:PORT`,
			`--kafka-cert-file: "c.pem": it has no effect without --kafka-tls`,
			`--kafka-key-file: "": it is needed with --kafka-cert-file`,
			`--kafka-username: "": it is needed with --kafka-sasl-mechanism`,
			`--kafka-password-file: "": it is needed with --kafka-sasl-mechanism`,
			`--request-topic: "a": it is named twice`,
			`--outcome-topic: "a": it must not be a request topic`,
			`--api-url: "http://example.com": http is allowed to loopback only, the key would travel in the clear: use https`,
			`--default-sub-account: "no spaces": a sub-account is 3 to 50 of A-Z a-z 0-9 - . _ &`,
			`--session-timeout: -1s: it must be above 0`,
			`--retry-max-attempts: -2: it must be 0 (no limit) or more`,
			`--rate-limit: -1: it must be 0 (no limit) or more`,
			`--log-level: "loud": use debug, info, warn or error`,
			`--http-addr: "nowhere": use HOST:PORT, or nothing for none`,
			`--api-key-file: "k": SMSCANCEL_API_KEY is set too: use one of them`,
			`--config: FILE: line 8: sub-accounts.acme_shop.rate-limit: "-1" is no number of 0 or more`,
			`--config: FILE: line 9: sub-accounts: "x": a sub-account is 3 to 50 of A-Z a-z 0-9 - . _ &`,
			`--config: FILE: line 10: sub-accounts.acme_two: write {rate-limit: N}`,
			`--config: FILE: line 11: sub-accounts.acme_three: unknown key "color"`,
			`--config: FILE: line 5: paused.campaigns: write a list of ids`,
			`--config: FILE: line 5: paused.sub-accounts: "x": a sub-account is 3 to 50 of A-Z a-z 0-9 - . _ &`,
			`--config: FILE: line 5: paused: unknown key "color"`,
			`--config: FILE: line 6: withdrawn-campaigns: "": a campaignId is 1 to 128 bytes`,
		})
}

func TestEachMistakeNamesFlagValueAndRemedy(t *testing.T) {
	key := map[string]string{"SMSCANCEL_API_KEY": "k1"}
	ok := []string{"worker", "--brokers", "127.0.0.1:9092"}
	noKeys := t.TempDir()
	for name, c := range map[string]struct {
		file string
		vars map[string]string
		args []string
		want []string
	}{
		"nothing given":        {args: []string{"worker"}, want: []string{noBroker, noKey}},
		"missing file":         {vars: key, args: append(ok, "--config", "/no/such.yaml"), want: []string{`--config: "/no/such.yaml": no such file or directory`}},
		"missing file by var":  {vars: map[string]string{"SMSCANCEL_CONFIG": "/no/such.yaml", "SMSCANCEL_API_KEY": "k"}, args: ok, want: []string{`--config: "/no/such.yaml": no such file or directory`}},
		"last file counts":     {vars: key, args: append(ok, "--config=/no/first", "--config", "/no/last"), want: []string{`--config: "/no/last": no such file or directory`}},
		"config without value": {vars: key, args: append([]string{"worker", "--config"}, ok[1:]...), want: []string{`--config: its value is missing`}},
		"value missing":        {vars: key, args: append([]string{"worker", "--group", "--window"}, ok[1:]...), want: []string{`--group: its value is missing`, `--window: its value is missing`}},
		"misspelt flag":        {vars: key, args: append(ok, "--windwo=3"), want: []string{`unknown flag --windwo, did you mean "--window"?`}},
		"short flag":           {vars: key, args: append(ok, "-xz"), want: []string{`unknown flag -x, did you mean "-h"?`}},
		"line break":           {vars: key, args: append(ok, "a\nb\x1b[31m", "--windwo"), want: []string{`unexpected argument a\nb\x1b[31m`, `unknown flag --windwo, did you mean "--window"?`}},
		"a secret with spaces": {vars: key, args: append(ok, "my key = canary"), want: []string{`unexpected argument my key =...`}},
		"unknown flag first":   {vars: key, args: append([]string{"--verbose"}, ok...), want: []string{`unknown flag --verbose`}},
		"empty broker":         {vars: key, args: []string{"worker", "--brokers", "a:1,"}, want: []string{`--brokers: "": each broker is HOST:PORT`}},
		"broker's port":        {vars: key, args: []string{"worker", "--brokers", "a:70000"}, want: []string{`--brokers: "a:70000": each broker is HOST:PORT`}},
		"no brokers in a list": {file: "brokers: []\n", vars: key, args: []string{"worker"}, want: []string{noBroker}},
		"empty key":            {vars: map[string]string{"SMSCANCEL_API_KEY": ""}, args: ok, want: []string{`SMSCANCEL_API_KEY: API key is empty`}},
		"no key in a folder":   {args: append(ok, "--api-key-file", noKeys), want: []string{fmt.Sprintf(`--api-key-file: %q: API keys: directory %s holds no key file: put the key of each sub-account into a file of its name`, noKeys, noKeys)}},
		"key file missing":     {args: append(ok, "--api-key-file", "/no/key"), want: []string{`--api-key-file: "/no/key": API keys: stat /no/key: no such file or directory`}},
		"password in the URL": {vars: key, args: append(ok, "--api-url", "https://me:canary@x"),
			want: []string{`--api-url: "[redacted]@x": must not carry a user or password: keys come from files or the environment`}},
		"URL without host":    {vars: key, args: append(ok, "--api-url", "sms.8x8.com"), want: []string{`--api-url: "sms.8x8.com": has no host: want https://HOST[:PORT]`}},
		"empty variable":      {vars: map[string]string{"SMSCANCEL_API_KEY": "k", "SMSCANCEL_WINDOW": "", "SMSCANCEL_KAFKA_TLS": ""}, args: ok, want: []string{`--kafka-tls: "" is neither true nor false`, `--window: "" is no whole number`}},
		"not a number":        {vars: key, args: append(ok, "--rate-limit", "NaN", "--rate-limit-total=Inf"), want: []string{`--rate-limit: "NaN" is no number`, `--rate-limit-total: "Inf" is no number`}},
		"zero":                {vars: key, args: append(ok, "--window=0", "--dedupe-window=0"), want: []string{`--dedupe-window: 0s: it must be above 0`, `--window: 0: it must be above 0`}},
		"retry delays":        {vars: key, args: append(ok, "--retry-initial=1m"), want: []string{`--retry-initial: 1m0s: it must not exceed --retry-max-interval (30s)`}},
		"key without cert":    {vars: key, args: append(ok, "--kafka-tls", "--kafka-key-file", "k"), want: []string{`--kafka-cert-file: "": it is needed with --kafka-key-file`}},
		"user without SASL":   {vars: key, args: append(ok, "--kafka-username", "-me"), want: []string{`--kafka-username: "-me": it has no effect without --kafka-sasl-mechanism`}},
		"mechanism":           {vars: key, args: append(ok, "--kafka-sasl-mechanism=x", "--kafka-username=u", "--kafka-password-file", os.DevNull), want: []string{`--kafka-password-file: "/dev/null": the file is empty`, `--kafka-sasl-mechanism: "x": use plain, scram-sha-256 or scram-sha-512`}},
		"topic":               {vars: key, args: append(ok, "--request-topic", "a b"), want: []string{`--request-topic: "a b": a topic's name is 1 to 249 of A-Z a-z 0-9 . _ -`}},
		"log format":          {vars: key, args: append(ok, "--log-format", "xml"), want: []string{`--log-format: "xml": use console or json`}},
		"line break in a key": {file: "\"a\\nb\": 1\n\"a\\nb\": 2\n", vars: key, args: ok, want: []string{`--config: FILE: line 2: a\nb stands twice`, `--config: FILE: line 1: unknown key "a\nb"`}},
		"key twice":           {file: "group: a\nwindow: 5\ngroup: b\n", vars: key, args: ok, want: []string{`--config: FILE: line 3: group stands twice`}},
		"list for one":        {file: "group: [a, b]\n", vars: key, args: ok, want: []string{`--group: it takes one value, not a list`}},
		"mapping for one":     {file: "window: {a: 1}\nbrokers: [[a]]\n", vars: key, args: []string{"worker"}, want: []string{`--brokers: it takes a value or a list of values`, `--window: it takes a value or a list of values`}},
		"not a mapping":       {file: "- a\n", vars: key, args: ok, want: []string{"--config: FILE: line 1: write it as lines of `key: value`"}},
		"two documents":       {file: "group: a\n---\ngroup: b\n", vars: key, args: ok, want: []string{`--config: "FILE": it holds more than one document: a second --- would be ignored`}},
		"no YAML":             {file: "group: {\n", vars: key, args: ok, want: []string{`--config: "FILE": yaml: line 1: did not find expected node content`}},
		"config in the file":  {file: "config: other.yaml\nhelp: true\n", vars: key, args: ok, want: []string{`--config: FILE: line 1: unknown key "config"`, `--config: FILE: line 2: unknown key "help"`}},
		"sub-accounts a list": {file: "sub-accounts: [a]\n", vars: key, args: ok, want: []string{`--config: FILE: line 1: sub-accounts: write ID: {rate-limit: N}`}},
		"sub-account twice":   {file: "sub-accounts:\n  abc: {rate-limit: 1, rate-limit: 2}\n  abc: {rate-limit: 3}\n", vars: key, args: ok, want: []string{`--config: FILE: line 2: sub-accounts.abc.rate-limit stands twice`, `--config: FILE: line 3: sub-accounts.abc stands twice`}},
		"no command":          {args: nil, want: []string{allCommands}},
		"flag, no command":    {args: []string{"--windwo"}, want: []string{`unknown flag --windwo`, allCommands}},
		"no such command":     {args: []string{"wroker"}, want: []string{`unknown command wroker, did you mean "worker"?`}},
		"nothing like it":     {args: []string{"cancel-all", "now"}, want: []string{`unknown command cancel-all; "smscancel help" lists them`}},
		"help about nothing":  {args: []string{"help", "outcome"}, want: []string{`unknown command outcome, did you mean "outcomes"?`}},
		"no such shell":       {args: []string{"completion", "tcsh"}, want: []string{`shell: "tcsh": use bash, zsh or fish`}},
		"dev's port":          {args: []string{"dev", "--broker-port", "x"}, want: []string{`--broker-port: "x" is no whole number`}},
		"dev's log":           {args: []string{"dev", "--log-level", "y"}, want: []string{`--log-level: "y": use debug, info, warn or error`}},
		"simulate": {args: []string{"simulate", "--listen=x", "--admin-listen=y", "--cert-file=c", "--fault=503", "--fault=hang-before=1e-3", "--latency=z", "--seed=s", "--max-calls=-1", "--rate-limit=-1"},
			want: []string{`--seed: "s" is no whole number`, `--listen: "x": use HOST:PORT`, `--admin-listen: "y": use HOST:PORT`, `--key-file: "": it is needed with --cert-file`,
				`--rate-limit: -1: it must be 0 (no limit) or more`, `--max-calls: -1: it must be 0 (all) or more`, `--fault: "503": write NAME=RATE, e.g. 503=0.01`, `--latency: "z": latency "z": time: invalid duration "z"`}},
	} {
		t.Run(name, func(t *testing.T) { mustRefuse(t, c.file, c.vars, c.args, c.want) })
	}
}

func TestVersionNeedsNoConfiguration(t *testing.T) {
	got := smscancel(t, map[string]string{"SMSCANCEL_CONFIG": "/no/such.yaml", "SMSCANCEL_WINDOW": "x"}, "version")
	if got.code != exitDone || !regexp.MustCompile(`^smscancel \S+\ncommit \S+\ngo\S+ \S+/\S+\n$`).MatchString(got.stdout) {
		t.Errorf("%+v", got)
	}
}

func TestNoSecretIsShown(t *testing.T) {

	keyFile := fileWith(t, "key", canary+"\n")
	badKey := fileWith(t, "bad", canary+" with a space\n")
	password := fileWith(t, "password", canary+"\a\n") // what SCRAM refuses
	config := fileWith(t, "config.yaml", "api-key: "+canary+"\nkafka-password: "+canary+"\n")
	bad := []string{"--brokers", "x", "--log-level", "debug", "--window", "z", "--config", config}
	for name, c := range map[string]struct {
		vars map[string]string
		args []string
	}{
		"key file":        {nil, []string{"--api-key-file", keyFile}},
		"bad key file":    {nil, []string{"--api-key-file", badKey}},
		"key variable":    {map[string]string{"SMSCANCEL_API_KEY": canary}, nil},
		"bad variable":    {map[string]string{"SMSCANCEL_API_KEY": canary + " x"}, nil},
		"both":            {map[string]string{"SMSCANCEL_API_KEY": canary}, []string{"--api-key-file", keyFile}},
		"password":        {nil, []string{"--kafka-sasl-mechanism", "scram-sha-512", "--kafka-username", "me", "--kafka-password-file", password}},
		"password's flag": {nil, []string{"--kafka-password", canary, "--api-key=" + canary}},
		"URL":             {nil, []string{"--api-url", "https://me:" + canary + "@host"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := smscancel(t, c.vars, append(append([]string{"worker"}, bad...), c.args...)...)
			if got.code != exitUsage || strings.Contains(got.stdout+got.stderr, "canary") {
				t.Errorf("exit code %d:\n%s%s", got.code, got.stdout, got.stderr)
			}
		})
	}
}

// net/http writes what a server sends unasked to the standard logger: an echo of
// the request would show the key.
func TestNothingIsLoggedBesideTheLog(t *testing.T) {
	var shown bytes.Buffer
	log.SetOutput(&shown)
	smscancel(t, nil, "version")
	log.Print("Unsolicited response received on idle HTTP channel starting with canary")
	if shown.Len() > 0 {
		t.Errorf("shown: %s", shown.String())
	}
}
