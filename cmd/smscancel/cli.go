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
)

// commands are all that the program can do.
type commands struct {
	Worker   WorkerCmd   `cmd:"" help:"Consume cancel requests, call the API, publish outcomes."`
	Dev      DevCmd      `cmd:"" help:"Everything in one process, nothing to install: broker, API simulator, worker."`
	Simulate SimulateCmd `cmd:"" help:"The API simulator alone."`
	Version  VersionCmd  `cmd:"" help:"Print version, commit and Go version."`
}

// command is one of them, parsed.
type command interface {
	Run(ctx context.Context, env environment) error
}

// usageError holds every mistake in flags and configuration, a line each.
type usageError []string

func (u usageError) Error() string { return strings.Join(u, "; ") }

// parse reads flags, environment and configuration file. All mistakes are
// reported together. It returns nil without an error when help was asked for.
func parse(env environment) (command, error) {
	var mistakes usageError
	file := loadConfigFile(env, &mistakes)
	var cli commands
	helped := false
	parser, err := kong.New(&cli,
		kong.Name("smscancel"),
		kong.Description("Cancels scheduled SMS messages of 8x8, driven by Kafka.\n\n"+
			"Every flag is also an environment variable (--api-url = SMSCANCEL_API_URL) and a key of the --config file (api-url). "+
			"Flags beat environment beat file.\n\nTry it: smscancel dev"),
		kong.Writers(env.stdout, env.stderr),
		kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, NoExpandSubcommands: true}),
		kong.Resolvers(&resolver{lookup: env.lookup, file: file}),
	)
	if err != nil {
		return nil, err
	}
	parsed := parseAll(parser, env.args, &mistakes, &helped)
	if helped {
		return nil, nil
	}
	if parsed == nil || parsed.Selected() == nil {
		return nil, mistakes
	}
	collect(parsed, &mistakes)
	file.reportUnknown(parsed, &mistakes)
	if len(mistakes) > 0 {
		if c, ok := parsed.Selected().Target.Addr().Interface().(interface {
			check(*usageError, environment)
		}); ok {
			c.check(&mistakes, env)
		}
		return nil, mistakes
	}
	return parsed.Selected().Target.Addr().Interface().(command), nil
}

var offender = regexp.MustCompile(`^(?:unknown flag (-\S+?)|unexpected argument (\S+?))(?:,|$)`)

// parseAll parses the arguments, leaving out one that kong stops at after the
// other, so that the rest is looked at too.
func parseAll(parser *kong.Kong, args []string, mistakes *usageError, helped *bool) *kong.Context {
	args = slices.Clone(args)
	for {
		parsed, err := parser.Parse(args)
		if *helped || err == nil {
			return parsed
		}
		m := offender.FindStringSubmatch(err.Error())
		i := -1
		if m != nil {
			i = slices.IndexFunc(args, func(a string) bool { return a == m[1]+m[2] || m[1] != "" && strings.HasPrefix(a, m[1]+"=") })
		}
		var failed *kong.ParseError
		if i < 0 {
			*mistakes = append(*mistakes, err.Error())
			if errors.As(err, &failed) {
				return failed.Context
			}
			return nil
		}
		*mistakes = append(*mistakes, err.Error())
		end := i + 1
		if m[1] != "" && !strings.Contains(args[i], "=") && end < len(args) && !strings.HasPrefix(args[end], "-") {
			end++ // its value
		}
		args = slices.Delete(args, i, end)
	}
}

// option is the value of a flag that may be wrong: the mistake is kept rather
// than returned, so that all of them can be reported at once.
type option[T any] struct {
	value T
	err   error
}

// Decode implements kong.MapperValue.
func (o *option[T]) Decode(ctx *kong.DecodeContext) error {
	token := ctx.Scan.Pop()
	text := fmt.Sprint(token.Value)
	if token.IsEOL() {
		return fmt.Errorf("missing value")
	}
	o.value, o.err = parseValue[T](text)
	if o.err != nil {
		o.err = fmt.Errorf("%q %w", text, o.err)
	}
	return nil
}

func (o *option[T]) mistake() error { return o.err }

// collect adds the mistakes of all flags of the chosen command.
func collect(parsed *kong.Context, mistakes *usageError) {
	for _, flag := range parsed.Flags() {
		if o, ok := flag.Target.Addr().Interface().(interface{ mistake() error }); ok && o.mistake() != nil {
			*mistakes = append(*mistakes, fmt.Sprintf("--%s: %v", flag.Name, o.mistake()))
		}
	}
}

// want notes a mistake unless ok. It says which flag, its value, and what would be right.
func (u *usageError) want(ok bool, flag string, value any, right string) {
	if !ok {
		*u = append(*u, fmt.Sprintf("--%s: %s: %s", flag, quoted(value), right))
	}
}

func quoted(value any) string {
	if v := reflect.ValueOf(value); v.Kind() == reflect.String {
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprint(value)
}
