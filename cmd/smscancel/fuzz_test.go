package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/alecthomas/kong"
)

// namedMistake begins with what is at fault.
var namedMistake = regexp.MustCompile(`^(--[a-z-]+|SMSCANCEL_API_KEY): \S|^(unknown flag|unexpected argument|unknown command|name a command:?|shell:) `)

// reader is parse with what costs most done once: the model of the flags.
type reader struct {
	vars   map[string]string
	file   configFile
	shown  bytes.Buffer // help
	p      parsing
	parser *kong.Kong
}

func newReader(f *testing.F) *reader {
	f.Helper()
	r := &reader{p: parsing{kept: lenient{}}}
	var err error
	if r.parser, err = r.p.parser(r.environment(nil), &r.file); err != nil {
		f.Fatal(err)
	}
	return r
}

func (r *reader) environment(args []string) environment {
	lookup := func(name string) (string, bool) { return lookupIn(r.vars)(name) }
	return environment{args: args, lookup: lookup, stdout: &r.shown, stderr: &r.shown}
}

// check holds for every configuration: it is taken, or each mistake is a line
// that begins with its name; and none shows the canary.
func (r *reader) check(t *testing.T, args []string, vars map[string]string) {
	t.Helper()
	env := r.environment(args)
	r.vars, r.p.mistakes, r.p.helped = vars, nil, false
	r.file = *loadConfigFile(env)
	r.shown.Reset()
	chosen, err := r.p.command(r.parser, env, &r.file)
	var mistakes usageError
	switch {
	case err != nil:
		if !errors.As(err, &mistakes) || len(mistakes) == 0 {
			t.Fatalf("%q: not a list of mistakes: %v", env.args, err)
		}
	case chosen != nil:
		mistakes = check(chosen, env)
	}
	for _, mistake := range mistakes {
		if !namedMistake.MatchString(mistake) || strings.ContainsFunc(mistake, unicode.IsControl) {
			t.Fatalf("%q: mistake %q", env.args, mistake)
		}
	}
	if text := r.shown.String() + strings.Join(mistakes, "\n"); strings.Contains(text, canary) {
		t.Fatalf("%q: shown: %s", env.args, text)
	}
}

const canary = "canary-4711-secret"

// fuzzed is a good configuration of a worker, with secrets of every kind.
func fuzzed(t *testing.T) (args []string, vars map[string]string) {
	t.Helper()
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args = []string{"worker", "--brokers=127.0.0.1:9092", "--kafka-tls", "--kafka-sasl-mechanism=scram-sha-512", "--kafka-username=me",
		"--kafka-password-file=" + password}
	return args, map[string]string{"SMSCANCEL_API_KEY": canary, "SMSCANCEL_API_URL": "https://me:" + canary + "@example.com"}
}

// FuzzConfigFile reads any file as the configuration.
func FuzzConfigFile(f *testing.F) {
	r := newReader(f)
	f.Fuzz(func(t *testing.T, content []byte) {
		args, vars := fuzzed(t)
		vars["SMSCANCEL_CONFIG"] = filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(vars["SMSCANCEL_CONFIG"], content, 0o600); err != nil {
			t.Fatal(err)
		}
		r.check(t, args, vars)
	})
}

// FuzzFlags gives the command line any argument, any flag of any command a value,
// and the environment another.
func FuzzFlags(f *testing.F) {
	var names []string
	for _, command := range modelOf(f).Children {
		for _, flag := range command.Flags {
			names = append(names, flag.Name)
		}
	}
	for i := range names {
		f.Add(uint8(0), "--", uint8(i), "x", uint8(i+1), "y")
		f.Add(uint8(0), "--group=g", uint8(i), "", uint8(i+1), "")
	}
	r := newReader(f)
	f.Fuzz(func(t *testing.T, command uint8, stray string, flag uint8, value string, variableOf uint8, variableValue string) {
		for _, text := range []string{stray, value, variableValue} {
			if strings.Contains(text, "/") || strings.Contains(text, "\x00") {
				return // opens no file but the test's own; and the system passes no NUL
			}
		}
		args, vars := fuzzed(t)
		args[0] = []string{"worker", "dev", "simulate", "version", "worker"}[command%5]
		args = append(args, stray, "--"+names[int(flag)%len(names)]+"="+value)
		vars[variable(names[int(variableOf)%len(names)])] = variableValue
		r.check(t, args, vars)
	})
}
