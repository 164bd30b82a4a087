package main

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// modelOf is the program's own description of its commands and flags.
func modelOf(t testing.TB) *kong.Application {
	t.Helper()
	p := &parsing{kept: lenient{}}
	env := environment{lookup: lookupIn(nil), stdout: io.Discard, stderr: io.Discard}
	parser, err := p.parser(env, loadConfigFile(env))
	require.NoError(t, err)
	return parser.Model
}

// workerFlags are the flags of the contract's table, with their defaults.
var workerFlags = map[string]string{
	"brokers": "", "group": "smscancel", "request-topic": "sms.cancel.requests", "outcome-topic": "sms.cancel.outcomes",
	"session-timeout": "10s", "kafka-tls": "", "kafka-ca-file": "", "kafka-cert-file": "", "kafka-key-file": "",
	"kafka-sasl-mechanism": "", "kafka-username": "", "kafka-password-file": "",
	"api-url": "https://sms.8x8.com", "api-key-file": "", "api-ca-file": "", "default-sub-account": "", "attempt-timeout": "10s",
	"window": "20000", "concurrency": "1024", "rate-limit": "1800", "rate-limit-total": "3000",
	"retry-initial": "500ms", "retry-max-interval": "30s", "retry-max-elapsed": "15m", "retry-max-attempts": "0",
	"retry-after-max": "5m", "auth-hold": "5m", "dedupe-window": "24h",
	"config": "", "http-addr": "127.0.0.1:8080", "log-format": "", "log-level": "info", "drain-timeout": "25s",
}

func TestWorkerHasTheFlagsAndDefaultsOfTheContract(t *testing.T) {
	got := map[string]string{}
	for _, flag := range workerModel(t).Flags {
		if flag.Name != "help" {
			got[flag.Name] = flag.Default
		}
		assert.NotEmpty(t, flag.Help, flag.Name)
	}
	assert.Equal(t, workerFlags, got)
}

func TestDefaultsAreReadAsTheyStand(t *testing.T) {
	env := environment{args: []string{"worker", "--brokers", "a:1"}, lookup: lookupIn(map[string]string{"SMSCANCEL_API_KEY": "k"})}
	parsed, err := parse(env)
	require.NoError(t, err)
	for _, flag := range workerModel(t).Flags {
		if flag.Default != "" {
			assert.Equal(t, canonical(t, flag, flag.Default), valueOf(t, parsed, flag.Name), flag.Name)
		}
	}
}

func workerModel(t *testing.T) *kong.Node {
	t.Helper()
	model := modelOf(t)
	i := slices.IndexFunc(model.Children, func(n *kong.Node) bool { return n.Name == "worker" })
	require.GreaterOrEqual(t, i, 0)
	return model.Children[i]
}

// Every flag gets three different values, one from each source; the values need
// not make sense together, so only reading is looked at, not the check.
func TestFlagsBeatEnvironmentBeatsFile(t *testing.T) {
	for _, flag := range workerModel(t).Flags {
		if notInFile[flag.Name] {
			continue
		}
		t.Run(flag.Name, func(t *testing.T) {
			values := samples(t, flag)
			file := fileWith(t, "config.yaml", fmt.Sprintf("%s: %s\n", flag.Name, values[0]))
			args := []string{"worker", "--config", file}
			vars := map[string]string{}
			assert.Equal(t, canonical(t, flag, values[0]), read(t, flag.Name, args, vars), "from the file")
			vars[variable(flag.Name)] = values[1]
			assert.Equal(t, canonical(t, flag, values[1]), read(t, flag.Name, args, vars), "environment over file")
			args = append(args, "--"+flag.Name+"="+values[2])
			assert.Equal(t, canonical(t, flag, values[2]), read(t, flag.Name, args, vars), "flag over environment")
			delete(vars, variable(flag.Name))
			assert.Equal(t, canonical(t, flag, values[2]), read(t, flag.Name, args, vars), "flag over file")
		})
	}
}

func TestConfigIsFoundByFlagBeforeEnvironment(t *testing.T) {
	first, second := fileWith(t, "1.yaml", "group: one\n"), fileWith(t, "2.yaml", "group: two\n")
	vars := map[string]string{"SMSCANCEL_CONFIG": first}
	assert.Equal(t, "one", read(t, "group", []string{"worker"}, vars))
	assert.Equal(t, "two", read(t, "group", []string{"worker", "--config", second}, vars))
	assert.Equal(t, "smscancel", read(t, "group", []string{"worker", "--config="}, vars), "an empty path is no file")
}

func TestCommandWithoutConfigLeavesTheFileAlone(t *testing.T) {
	file := fileWith(t, "c.yaml", "submit: from-file\nno-such-key: 1\n")
	command, err := parse(environment{args: []string{"dev"}, lookup: lookupIn(map[string]string{"SMSCANCEL_CONFIG": file}), stdout: io.Discard, stderr: io.Discard})
	require.NoError(t, err)
	assert.Empty(t, command.(*DevCmd).Submit)
}

func TestLists(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		args []string
	}{
		"repeated flag":   {"", []string{"--brokers", "a:1", "--brokers", "b:2"}},
		"commas":          {"", []string{"--brokers", "a:1, b:2"}},
		"list in file":    {"brokers: [a:1, b:2]\n", nil},
		"lines in file":   {"brokers:\n- a:1\n- b:2\n", nil},
		"commas in file":  {"brokers: a:1,b:2\n", nil},
		"alias in file":   {"request-topic: [&x a:1]\nbrokers: [*x, b:2]\n", nil},
		"flag over file":  {"brokers: [c:3, d:4]\n", []string{"--brokers=a:1", "--brokers=b:2"}},
		"document marker": {"---\nbrokers: [a:1, b:2]\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"worker", "--config", fileWith(t, "c.yaml", c.file)}, c.args...)
			assert.Equal(t, "[a:1 b:2]", read(t, "brokers", args, nil))
		})
	}
}

func TestNullInTheFileIsAsIfTheKeyWereNotThere(t *testing.T) {
	file := fileWith(t, "c.yaml", "group:\nwindow: ~\nkafka-tls: null\nrequest-topic:\npaused:\nsub-accounts:\nwithdrawn-campaigns: ~\n")
	args := []string{"worker", "--brokers", "a:1", "--config", file}
	vars := map[string]string{"SMSCANCEL_API_KEY": "k"}
	assert.Equal(t, "smscancel", read(t, "group", args, vars))
	assert.Equal(t, "20000", read(t, "window", args, vars))
	assert.Equal(t, "[sms.cancel.requests]", read(t, "request-topic", args, vars))
	var mistakes usageError
	loaded(t, args, vars).config(environment{args: args, lookup: lookupIn(vars)}, &mistakes, func(error) {})
	assert.Empty(t, mistakes)
	for _, empty := range []string{"", "# nothing\n", "---\n"} {
		assert.Equal(t, "smscancel", read(t, "group", []string{"worker", "--config", fileWith(t, "e.yaml", empty)}, nil), "%q", empty)
	}
}

func TestEmptyHTTPAddrMeansNone(t *testing.T) {
	vars := map[string]string{"SMSCANCEL_HTTP_ADDR": ""}
	file := fileWith(t, "c.yaml", `http-addr: ""`)
	assert.Empty(t, read(t, "http-addr", []string{"worker"}, vars))
	assert.Empty(t, read(t, "http-addr", []string{"worker", "--http-addr="}, nil))
	assert.Empty(t, read(t, "http-addr", []string{"worker", "--config", file}, nil))
}

func TestSwitches(t *testing.T) {
	for text, want := range map[string]string{"true": "true", "yes": "true", "1": "true", "True": "true", "false": "false", "no": "false", "0": "false"} {
		assert.Equal(t, want, read(t, "kafka-tls", []string{"worker", "--config", fileWith(t, "c.yaml", "kafka-tls: "+text+"\n")}, nil), "file: %s", text)
		assert.Equal(t, want, read(t, "kafka-tls", []string{"worker"}, map[string]string{"SMSCANCEL_KAFKA_TLS": text}), "environment: %s", text)
		assert.Equal(t, want, read(t, "kafka-tls", []string{"worker", "--kafka-tls=" + text}, nil), "flag: %s", text)
	}
	assert.Equal(t, "true", read(t, "kafka-tls", []string{"worker", "--kafka-tls", "--brokers=a:1"}, nil))
}

func TestValuesMayBeginWithAHyphen(t *testing.T) {
	for _, args := range [][]string{{"--kafka-username", "-me"}, {"--kafka-username=-me"}} {
		assert.Equal(t, "-me", read(t, "kafka-username", append([]string{"worker"}, args...), nil))
	}
	assert.Equal(t, "--me", read(t, "kafka-username", []string{"worker", "--kafka-username=--me"}, nil))
	assert.Equal(t, "-5", read(t, "rate-limit", []string{"worker", "--rate-limit", "-5"}, nil))
}

func TestSubAccountRatesComeFromTheFile(t *testing.T) {
	args := []string{"worker", "--brokers", "a:1", "--config", fileWith(t, "c.yaml", "sub-accounts:\n  acme_shop: &a {rate-limit: 10}\n  acme.two: *a\n  free: {rate-limit: 0}\n")}
	vars := map[string]string{"SMSCANCEL_API_KEY": "k"}
	var mistakes usageError
	cfg := loaded(t, args, vars).config(environment{args: args, lookup: lookupIn(vars)}, &mistakes, func(error) {})
	assert.Empty(t, mistakes)
	assert.Equal(t, map[string]float64{"acme_shop": 10, "acme.two": 10, "free": 0}, cfg.SubAccountRate)
}

// samples are three different values that a flag can read.
func samples(t *testing.T, flag *kong.Flag) [3]string {
	t.Helper()
	switch flag.Target.Addr().Interface().(type) {
	case *bool:
		return [3]string{"true", "false", "true"}
	case *string, *[]string:
		return [3]string{"file-value", "env-value", "flag-value"}
	case *option[int], *option[float64]:
		return [3]string{"11", "12", "13"}
	}
	return [3]string{"11s", "12s", "13s"}
}

// read parses the arguments and returns one flag's value. Mistakes elsewhere,
// such as a missing key, do not matter here.
func read(t *testing.T, flag string, args []string, vars map[string]string) string {
	t.Helper()
	return valueOf(t, loaded(t, args, vars), flag)
}

func loaded(t *testing.T, args []string, vars map[string]string) *WorkerCmd {
	t.Helper()
	command, err := parse(environment{args: args, lookup: lookupIn(vars), stdout: io.Discard, stderr: io.Discard})
	require.NoError(t, err)
	return command.(*WorkerCmd)
}

// valueOf is the value of a flag as text.
func valueOf(t *testing.T, command command, flag string) string {
	t.Helper()
	parser, err := kong.New(command, kong.Exit(func(int) {}))
	require.NoError(t, err)
	for _, f := range parser.Model.Flags {
		if f.Name == flag {
			return shown(f.Target)
		}
	}
	require.Fail(t, "no such flag", flag)
	return ""
}

// canonical is a text as valueOf shows it once a flag has read it.
func canonical(t *testing.T, flag *kong.Flag, text string) string {
	t.Helper()
	fresh := reflect.New(flag.Target.Type())
	switch o := fresh.Interface().(type) {
	case *[]string:
		*o = strings.Split(text, ",")
	case kong.MapperValue:
		require.NoError(t, o.Decode(&kong.DecodeContext{Value: flag.Value, Scan: kong.Scan(text)}))
	default:
		return text
	}
	return shown(fresh.Elem())
}

func shown(v reflect.Value) string {
	if v.Kind() == reflect.Struct { // an option
		v = v.FieldByName("value")
	}
	return fmt.Sprint(v)
}
