package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// oneScreen is what a terminal of a usual height shows.
const oneScreen = 43

func TestHelpOfEveryCommandFitsAScreenAndShowsEveryFlag(t *testing.T) {
	for _, command := range append([]*kong.Node{nil}, modelOf(t).Children...) {
		args := []string{"--help"}
		if command != nil {
			args = []string{command.Name, "--help", "--config", "/no/such.yaml"}
		}
		got := smscancel(t, nil, args...)
		require.Equal(t, exitDone, got.code, "%v", args)
		assert.Empty(t, got.stderr, "%v", args)
		assert.True(t, strings.HasPrefix(got.stdout, "Usage: smscancel"), "%v: %s", args, got.stdout)
		lines := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
		assert.LessOrEqual(t, len(lines), oneScreen, "%v: lines", args)
		for _, line := range lines {
			assert.LessOrEqual(t, utf8.RuneCountInString(line), helpWidth, "%v: columns of %s", args, line)
		}
		if command == nil {
			for _, child := range modelOf(t).Children {
				assert.Contains(t, got.stdout, "\n  "+child.Name+" ")
			}
			continue
		}
		for _, flag := range command.Flags {
			assert.Regexp(t, "--"+flag.Name+`(,|=|\s)`, got.stdout, "%v", args)
		}
	}
}

// shownCommand is an example: a line that begins with the program, or pipes into it.
var shownCommand = regexp.MustCompile(`(?m)^  .*\bsmscancel (\w+.*)$`)

func TestHelpShowsExamplesThatTheProgramTakes(t *testing.T) {
	for _, command := range modelOf(t).Children {
		examples := shownCommand.FindAllStringSubmatch(command.Detail, -1)
		if command.Name == "version" {
			continue
		}
		assert.GreaterOrEqual(t, len(examples), 2, command.Name)
		for _, example := range examples {
			line, _, _ := strings.Cut(example[1], " >")
			line, _, _ = strings.Cut(line, ")")
			args := strings.Fields(line)
			env := environment{args: args, lookup: lookupIn(map[string]string{"SMSCANCEL_BROKERS": "a:1"})}
			if !slices.Contains(args, "--api-key-file") {
				env.lookup = lookupIn(map[string]string{"SMSCANCEL_BROKERS": "a:1", "SMSCANCEL_API_KEY": "k"})
			}
			chosen, err := parse(env)
			mistakes, _ := err.(usageError)
			if err == nil && chosen != nil {
				mistakes = check(chosen, env)
			}
			for _, mistake := range mistakes { // the files that are named are not here
				assert.Contains(t, mistake, "no such file", line)
			}
		}
	}
}

func TestHelpAboutACommandIsItsHelp(t *testing.T) {
	for _, command := range modelOf(t).Children {
		assert.Equal(t, smscancel(t, nil, command.Name, "--help"), smscancel(t, nil, "help", command.Name), command.Name)
	}
	assert.Equal(t, smscancel(t, nil, "--help"), smscancel(t, nil, "help"))
}
