package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"smscancel/cmd/smscancel/outcomes"
)

// commands are all that the program can do.
type commands struct {
	Worker   WorkerCmd   `cmd:"" help:"Consume cancel requests, call the API, publish outcomes."`
	Dev      DevCmd      `cmd:"" help:"Broker, API simulator and worker in one process."`
	Check    CheckCmd    `cmd:"" help:"Test the whole configuration against the real brokers and API."`
	Topics   TopicsCmd   `cmd:"" help:"Create the topics, or verify their settings."`
	Submit   SubmitCmd   `cmd:"" help:"Publish cancel requests from files, validated first."`
	Outcomes OutcomesCmd `cmd:"" help:"List, count and verify outcomes."`
	Redrive  RedriveCmd  `cmd:"" help:"Turn failed, expired or ambiguous outcomes into requests again."`
	Simulate SimulateCmd `cmd:"" help:"The API simulator alone."`
	Version  VersionCmd  `cmd:"" help:"Print version, commit and Go version."`

	Completion CompletionCmd `cmd:"" help:"Print what completes commands, flags and values in a shell."`
	Help       HelpCmd       `cmd:"" help:"Help about a command."`
}

// command is one of them, parsed.
type command interface {
	Run(ctx context.Context, env environment) error
}

// usageError holds every mistake in flags and configuration, a line each.
type usageError []string

func (u usageError) Error() string { return strings.Join(u, "; ") }

// want notes a mistake unless ok. It says which flag, its value, and what would be right.
func (u *usageError) want(ok bool, flag string, value any, right string) {
	if !ok {
		*u = append(*u, oneLine(fmt.Sprintf("--%s: %s: %s", flag, quoted(value), right)))
	}
}

func quoted(value any) string {
	if v := reflect.ValueOf(value); v.Kind() == reflect.String {
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprint(value)
}

// parse reads flags, environment and configuration file. All mistakes are
// reported together. It returns nil without an error when help was asked for.
func parse(env environment) (command, error) {
	file := loadConfigFile(env)
	p := &parsing{kept: lenient{}}
	parser, err := p.parser(env, file)
	if err != nil {
		return nil, err
	}
	return p.command(parser, env, file)
}

// command is the one that the arguments name, with all that was found wrong.
func (p *parsing) command(parser *kong.Kong, env environment, file *configFile) (command, error) {
	chosen, unread := p.chosen(parser, env, file)
	switch {
	case p.helped:
		return nil, nil
	case chosen == nil:
		return nil, p.mistakes
	case len(p.mistakes) == 0:
		return chosen, nil
	}
	// What the command itself would find when it runs, but for the flags that
	// have no value to judge.
	found := slices.DeleteFunc(check(chosen, env), func(mistake string) bool {
		flag, _, _ := strings.Cut(mistake, ": ")
		return slices.Contains(unread, flag)
	})
	return nil, append(p.mistakes, found...)
}

// chosen is the command that the arguments name, with its flags as far as they
// can be read, and those that cannot; nil where that cannot be said.
func (p *parsing) chosen(parser *kong.Kong, env environment, file *configFile) (chosen command, unread []string) {
	parsed := p.parse(parser, env.args)
	if p.helped || parsed == nil || parsed.Selected() == nil {
		return nil, nil
	}
	if takesFile(parsed) {
		p.mistakes = append(p.mistakes, file.mistakes...)
		file.reportUnknown(parsed, &p.mistakes)
	}
	unread = p.collect(parsed)
	return parsed.Selected().Target.Addr().Interface().(command), unread
}

func check(chosen command, env environment) (mistakes usageError) {
	type checker interface {
		check(*usageError, environment)
	}
	type plainChecker interface{ check(*usageError) }
	switch c := chosen.(type) {
	case checker:
		c.check(&mistakes, env)
	case plainChecker:
		c.check(&mistakes)
	}
	return mistakes
}

// parsing is what comes up while arguments are parsed.
type parsing struct {
	kept     lenient
	helped   bool
	mistakes usageError
}

func (p *parsing) parser(env environment, file *configFile) (*kong.Kong, error) {
	return kong.New(&commands{}, append(p.kept.options(),
		kong.Name("smscancel"),
		kong.Description("Cancels scheduled SMS messages of 8x8, driven by Kafka."),
		kong.Writers(env.stdout, env.stderr),
		kong.Exit(func(int) { p.helped = true }),
		kong.Help(helpPage),
		kong.Resolvers(&resolver{lookup: env.lookup, file: file}),
	)...)
}

// What kong's messages begin with, and what it may put behind the argument.
const (
	unknownFlag = "unknown flag "
	unexpected  = "unexpected argument "
	suggestion  = ", did you mean "

	unknownCommand = "unknown command "
)

// assigned finds NAME=VALUE in a stray argument: the value may be a secret.
var assigned = regexp.MustCompile(`(?s)^(` + unexpected + `[^=]+)=.*`)

// oneLine shows what would break a line or hide in it.
func oneLine(text string) string { return outcomes.Safe(text) }

// parse parses the arguments, leaving out one that kong stops at after the
// other, so that the rest is looked at too. It returns nil if that cannot be done.
func (p *parsing) parse(parser *kong.Kong, args []string) *kong.Context {
	args = slices.Clone(args)
	for {
		clear(p.kept)
		parsed, err := parser.Parse(args)
		if p.helped || err == nil {
			return parsed
		}
		p.note(err, parser.Model)
		from, to := offending(err, args, parser.Model)
		if from < 0 {
			return nil
		}
		args = slices.Delete(args, from, to)
	}
}

// note keeps what kong says. That no command is named goes without saying where
// one was that there is not.
func (p *parsing) note(err error, model *kong.Application) {
	message := assigned.ReplaceAllString(err.Error(), "$1=...")
	if at, ok := errors.AsType[*kong.ParseError](err); ok && at.Context.Selected() == nil && !strings.HasPrefix(message, unknownFlag) {
		if slices.ContainsFunc(p.mistakes, func(m string) bool { return strings.HasPrefix(m, unknownCommand) }) {
			return
		}
		message = noCommand(message, model)
	}
	p.mistakes = append(p.mistakes, oneLine(message))
}

// offending finds the arguments that err complains of: an unknown flag is left
// out together with what seems to be its value.
func offending(err error, args []string, model *kong.Application) (from, to int) {
	message, _, _ := strings.Cut(err.Error(), suggestion)
	flag, isFlag := strings.CutPrefix(message, unknownFlag)
	stray, isStray := strings.CutPrefix(message, unexpected)
	if !isFlag && !isStray {
		return -1, -1
	}
	if !isFlag {
		flag = ""
	}
	from = slices.IndexFunc(args, func(arg string) bool {
		name, _, _ := strings.Cut(arg, "=")
		isShort := flag != "" && !strings.HasPrefix(flag, "--") && !strings.HasPrefix(arg, "--") && strings.HasPrefix(arg, flag)
		return flag != "" && name == flag || isShort || isStray && arg == stray
	})
	to = from + 1
	hasValue := flag != "" && from >= 0 && to < len(args) && args[from] == flag && !strings.HasPrefix(args[to], "-")
	if hasValue && !slices.ContainsFunc(model.Children, func(c *kong.Node) bool { return c.Name == args[to] }) {
		to++
	}
	return from, to
}

// collect adds the mistakes in the values of the chosen command's flags, and
// returns the flags that have one.
func (p *parsing) collect(parsed *kong.Context) (unread []string) {
	for _, flag := range parsed.Flags() {
		err := p.kept[flag.Value]
		if o, ok := flag.Target.Addr().Interface().(interface{ mistake() error }); ok {
			err = o.mistake()
		}
		if err != nil {
			p.mistakes = append(p.mistakes, fmt.Sprintf("--%s: %v", flag.Name, err))
			unread = append(unread, "--"+flag.Name)
		}
	}
	return unread
}

// takesFile tells whether the chosen command has a configuration file.
func takesFile(parsed *kong.Context) bool {
	return slices.ContainsFunc(parsed.Flags(), func(f *kong.Flag) bool { return f.Name == "config" })
}
