package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// HelpCmd is `smscancel help`.
type HelpCmd struct {
	About string `arg:"" optional:"" name:"command" help:"The command that the help is about."`
}

// Help is shown above the flags.
func (*HelpCmd) Help() string {
	return `The same as --help behind a command.

Examples:
  smscancel help
  smscancel help submit`
}

// Run shows what --help would.
func (c *HelpCmd) Run(_ context.Context, env environment) error {
	var mistakes usageError
	if c.check(&mistakes, env); len(mistakes) > 0 {
		return mistakes
	}
	env.args = []string{"--help"}
	if c.About != "" {
		env.args = []string{c.About, "--help"}
	}
	_, err := parse(env)
	return err
}

// check refuses what is no command: kong itself shows the help of all of them then.
func (c *HelpCmd) check(mistakes *usageError, env environment) {
	if c.About == "" {
		return
	}
	env.args = []string{c.About}
	p := &parsing{kept: lenient{}}
	parser, err := p.parser(env, &configFile{})
	if err != nil {
		return
	}
	if parsed := p.parse(parser, env.args); parsed == nil || parsed.Selected() == nil {
		*mistakes = append(*mistakes, p.mistakes[0])
	}
}

// Help is laid out for a terminal of helpWidth columns.
const (
	helpWidth = 80
	minText   = 24 // columns of a flag's text; with fewer it begins on the next line
)

// helpPage is kong's help printer: usage, description and examples first, then
// the flags, a line each where it can be, with the group's name in the margin.
func helpPage(_ kong.HelpOptions, ctx *kong.Context) error {
	node := ctx.Selected()
	if node == nil {
		return overview(ctx.Stdout, ctx.Model)
	}
	page := &strings.Builder{}
	fmt.Fprintf(page, "Usage: smscancel %s\n%s\n", usage(node), node.Help)
	if node.Detail != "" {
		fmt.Fprintf(page, "%s\n", node.Detail)
	}
	rows, margin, column := flagRows(node)
	if len(rows) > 0 {
		page.WriteString("\n")
	}
	for _, r := range rows {
		r.write(page, margin, column)
	}
	_, err := io.WriteString(ctx.Stdout, page.String())
	return err
}

func usage(node *kong.Node) string {
	text := node.Name
	for _, arg := range node.Positional {
		text += " " + arg.Summary()
	}
	if len(node.Flags) > 0 {
		text += " [flags]"
	}
	return text
}

const overviewDetail = `Every flag is also an environment variable (--api-url = SMSCANCEL_API_URL) and,
but for dev, a key of the --config file (api-url). Flags beat environment beat
file. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.

Examples:
  smscancel dev --submit integration/testdata/campaign.csv
  smscancel help submit
  source <(smscancel completion bash)`

// overview lists the commands.
func overview(w io.Writer, app *kong.Application) error {
	page := &strings.Builder{}
	fmt.Fprintf(page, "Usage: smscancel COMMAND [flags]\n%s\n\n", app.Help)
	for _, command := range app.Children {
		helpRow{left: command.Name, text: command.Help}.write(page, 2, 14)
	}
	fmt.Fprintf(page, "\n%s\n", overviewDetail)
	_, err := io.WriteString(w, page.String())
	return err
}

// helpRow is a flag, or two that share a line.
type helpRow struct{ group, left, text string }

// flagRows are the flags of a command in their groups, with where the flags and
// where their texts begin.
func flagRows(node *kong.Node) (rows []helpRow, margin, column int) {
	var groups []string
	byGroup := map[string][]helpRow{}
	for _, flag := range node.Flags {
		name := "Flags"
		if flag.Group != nil {
			name = flag.Group.Title
		}
		switch {
		case byGroup[name] != nil:
		case flag.Group == nil: // what the command is about
			groups = append([]string{name}, groups...)
		default:
			groups = append(groups, name)
		}
		if beside := flag.Tag.Get("beside"); beside != "" {
			last := &byGroup[name][len(byGroup[name])-1]
			last.left = "--" + beside + ", " + leftOf(flag)
			continue
		}
		byGroup[name] = append(byGroup[name], helpRow{left: leftOf(flag), text: flag.Help})
	}
	for _, name := range groups {
		byGroup[name][0].group = name
		margin = max(margin, len(name)+2)
		rows = append(rows, byGroup[name]...)
	}
	for _, r := range rows {
		if !strings.Contains(r.left, ", ") {
			column = max(column, margin+len(r.left)+2)
		}
	}
	return rows, margin, column
}

// leftOf is a flag as it is typed.
func leftOf(flag *kong.Flag) string {
	if flag.IsBool() {
		return "--" + flag.Name
	}
	return "--" + flag.Name + "=" + flag.FormatPlaceHolder()
}

func (r helpRow) write(w io.Writer, margin, column int) {
	head := fmt.Sprintf("%-*s%s", margin, r.group, r.left)
	begin := max(column, len(head)+2)
	if helpWidth-begin < minText {
		fmt.Fprintln(w, head)
		head, begin = "", column
	}
	for i, line := range wrapped(r.text, helpWidth-begin) {
		if i > 0 {
			head = ""
		}
		fmt.Fprintf(w, "%-*s%s\n", begin, head, line)
	}
}

// wrapped breaks a text at its spaces.
func wrapped(text string, width int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		if joined := strings.TrimLeft(*last+" "+word, " "); len(joined) <= width || *last == "" {
			*last = joined
			continue
		}
		lines = append(lines, word)
	}
	return lines
}

// noCommand is the mistake of naming a command that there is not, or none at all.
func noCommand(message string, app *kong.Application) string {
	const where = `"smscancel help" lists them`
	stray, found := strings.CutPrefix(message, unexpected)
	if !found {
		var names []string
		for _, command := range app.Children {
			names = append(names, command.Name)
		}
		return "name a command: " + anyOf(names) + `; "smscancel help" says what each does`
	}
	stray, candidates, _ := strings.Cut(stray, suggestion)
	if candidates != "" {
		candidates = suggestion + candidates
	}
	return fmt.Sprintf("%s%s%s", unknownCommand, stray, cmp.Or(candidates, "; "+where))
}
