package main

import (
	"context"
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// CompletionCmd is `smscancel completion`.
type CompletionCmd struct {
	Shell string `arg:"" optional:"" help:"bash, zsh or fish."`
}

// Help is shown above the flags.
func (*CompletionCmd) Help() string {
	return `For bash, for zsh once its compinit has run, and for fish.

Examples:
  echo 'source <(smscancel completion bash)' >> ~/.bashrc
  echo 'source <(smscancel completion zsh)' >> ~/.zshrc
  smscancel completion fish > ~/.config/fish/completions/smscancel.fish`
}

var shells = []string{"bash", "zsh", "fish"}

// What each shell needs is the same few lines: the candidates come from the
// program itself, by complete, so that they are those of its version.
//
//go:embed completion
var completionScripts embed.FS

// Run prints the script.
func (c *CompletionCmd) Run(_ context.Context, env environment) error {
	var mistakes usageError
	if c.check(&mistakes); len(mistakes) > 0 {
		return mistakes
	}
	script, err := completionScripts.ReadFile("completion/smscancel." + c.Shell)
	if err != nil {
		return err
	}
	_, err = env.stdout.Write(script)
	return err
}

func (c *CompletionCmd) check(mistakes *usageError) {
	if !slices.Contains(shells, c.Shell) {
		*mistakes = append(*mistakes, oneLine(fmt.Sprintf("shell: %q: use %s", c.Shell, anyOf(shells))))
	}
}

// askedByShell is the first argument where a shell's script asks what the last of
// the others, which may be empty, can become.
const askedByShell = "__complete"

// In place of candidates, for the shell to find them itself.
const (
	anyFile      = ":files"
	anyDirectory = ":directories"
)

// complete prints the candidates, one a line, with what they are behind a tab.
// It reads no configuration file: a Tab must not have to wait for one.
func complete(env environment) int {
	p := &parsing{kept: lenient{}}
	parser, err := p.parser(env, &configFile{})
	if err != nil || len(env.args) < 2 {
		return exitFailed
	}
	for _, found := range candidates(parser.Model, env.args[1:]) {
		fmt.Fprintln(env.stdout, found)
	}
	return exitDone
}

// candidates are what the last word can become.
func candidates(app *kong.Application, words []string) []string {
	before, last := words[:len(words)-1], words[len(words)-1]
	command := chosenIn(app, before)
	if name, value, assigned := strings.Cut(last, "="); assigned {
		if flag := flagNamed(command, name); flag != nil {
			return valuesOf(flag, name+"=", value)
		}
		return nil
	}
	if len(before) > 0 {
		if flag := flagNamed(command, before[len(before)-1]); flag != nil && !flag.IsBool() {
			return valuesOf(flag, "", last)
		}
	}
	if strings.HasPrefix(last, "-") {
		return flagsOf(command, before, last)
	}
	return argumentsOf(app, command, last)
}

// chosenIn is the command that words name, or the program itself.
func chosenIn(app *kong.Application, words []string) *kong.Node {
	for _, word := range words {
		for _, command := range app.Children {
			if command.Name == word {
				return command
			}
		}
	}
	return app.Node
}

func flagNamed(command *kong.Node, name string) *kong.Flag {
	for _, flag := range command.Flags {
		if "--"+flag.Name == name {
			return flag
		}
	}
	return nil
}

// valuesOf are what a flag can be given: files, or names, of which a list may
// hold several. What stands before the value goes before each candidate.
func valuesOf(flag *kong.Flag, before, value string) []string {
	switch flag.PlaceHolder {
	case "FILE", "PATH":
		return []string{anyFile}
	case "DIR":
		return []string{anyDirectory}
	}
	var given []string
	if flag.IsSlice() {
		given = strings.Split(value, ",")
		value, given = given[len(given)-1], given[:len(given)-1]
		before += strings.Join(append(given, ""), ",")
	}
	var found []string
	for _, choice := range choices[flag.Name] {
		if strings.HasPrefix(choice, value) && !slices.Contains(given, choice) {
			found = append(found, before+choice)
		}
	}
	return found
}

// flagsOf are the flags that begin so and are not given yet, lists aside.
func flagsOf(command *kong.Node, before []string, begin string) (found []string) {
	for _, flag := range append(slices.Clone(command.Flags), &kong.Flag{Value: &kong.Value{Name: "help", Help: "Show help.", Tag: &kong.Tag{}}}) {
		name := "--" + flag.Name
		given := slices.ContainsFunc(before, func(word string) bool { return word == name || strings.HasPrefix(word, name+"=") })
		if strings.HasPrefix(name, begin) && (!given || flag.Target.IsValid() && flag.IsSlice()) {
			found = append(found, name+"\t"+flag.Help)
		}
	}
	return found
}

// argumentsOf are what can stand where no flag does.
func argumentsOf(app *kong.Application, command *kong.Node, begin string) (found []string) {
	switch command.Name {
	case "submit":
		return []string{anyFile}
	case "completion":
		return beginning(shells, begin)
	case app.Name, "help":
		for _, c := range app.Children {
			if strings.HasPrefix(c.Name, begin) {
				found = append(found, c.Name+"\t"+c.Help)
			}
		}
	}
	return found
}

func beginning(all []string, with string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool { return !strings.HasPrefix(one, with) })
}
