package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smscancel/integration/notrun"
)

// completed are what the last word can become, without what is said of each.
func completed(t *testing.T, words ...string) []string {
	t.Helper()
	got := smscancel(t, nil, append([]string{askedByShell}, words...)...)
	require.Equal(t, result{code: exitDone, stdout: got.stdout}, got)
	var found []string
	for line := range strings.Lines(got.stdout) {
		name, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		found = append(found, name)
	}
	return found
}

func TestCompletionOffersEveryCommandAndEveryFlag(t *testing.T) {
	var commands []string
	for _, command := range modelOf(t).Children {
		commands = append(commands, command.Name)
		flags := []string{"--help"}
		for _, flag := range command.Flags {
			flags = append(flags, "--"+flag.Name)
		}
		assert.ElementsMatch(t, slices.Compact(slices.Sorted(slices.Values(flags))), completed(t, command.Name, "-"), command.Name)
	}
	assert.Equal(t, commands, completed(t, ""))
	assert.Equal(t, commands, completed(t, "help", ""))
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string][]string{
		"out":                              {"outcomes"},
		"help re":                          {"redrive"},
		"completion ":                      {"bash", "zsh", "fish"},
		"outcomes --format ":               {"table", "json", "csv"},
		"outcomes --format=j":              {"--format=json"},
		"outcomes --status c":              {"cancelled"},
		"outcomes --status failed,":        {"failed,cancelled", "failed,not_cancelled", "failed,duplicate", "failed,expired", "failed,rejected"},
		"redrive --status=failed,e":        {"--status=failed,expired"},
		"redrive --kind t":                 {"timeout", "tls"},
		"worker --kafka-sasl-mechanism s":  {"scram-sha-256", "scram-sha-512"},
		"worker --log-format ":             {"console", "json"},
		"worker --kafka-tls --log-level e": {"error"},
		"worker --kafka-c":                 {"--kafka-ca-file", "--kafka-cert-file"},
		"worker --window 3 --windo":        nil, // it is given
		"outcomes --campaign a --campaig":  {"--campaign"},
		"worker --config ":                 {anyFile},
		"worker --api-key-file=/etc/":      {anyFile},
		"submit --state-dir ":              {anyDirectory},
		"submit ":                          {anyFile},
		"submit a.csv ":                    {anyFile},
		"worker ":                          nil,
		"worker --brokers ":                nil, // what only the reader knows
		"no-such --fo":                     nil,
		"worker --no-such=":                nil,
	} {
		assert.Equal(t, want, completed(t, strings.Split(line, " ")...), line)
	}
}

// Every value that completion offers is one that the flag takes.
func TestChoicesAreWhatTheFlagsTake(t *testing.T) {
	for flag, values := range choices {
		for _, value := range append(slices.Clone(values), "nonsense") {
			args := []string{"outcomes", "--brokers", "a:1", "--" + flag, value}
			switch flag {
			case "log-format", "log-level":
				args[0] = "worker"
			case "kafka-sasl-mechanism":
				args = append(args, "--kafka-username", "me", "--kafka-password-file", fileWith(t, "password", "secret"))
			}
			env := environment{args: args, lookup: lookupIn(map[string]string{"SMSCANCEL_API_KEY": "k"})}
			command, err := parse(env)
			require.NoError(t, err, "%v", args)
			if mistakes := check(command, env); value == "nonsense" {
				assert.Equal(t, usageError{fmt.Sprintf("--%s: %q: use %s", flag, value, anyOf(values))}, mistakes)
			} else {
				assert.Empty(t, mistakes, "%v", args)
			}
		}
	}
}

// asCommand makes a directory for PATH in which smscancel is this program.
func asCommand(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", asProgram, self)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "smscancel"), []byte(script), 0o700))
	return dir
}

// shell runs a script in a directory with two files and a folder.
func shell(t *testing.T, name string, arg ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		notrun.Missing(t, name, "the tests of its completion need it")
	}
	cmd := exec.CommandContext(t.Context(), path, arg...)
	cmd.Dir = t.TempDir()
	for _, file := range []string{"campaign one.csv", "campaign.csv"} {
		require.NoError(t, os.WriteFile(filepath.Join(cmd.Dir, file), nil, 0o600))
	}
	require.NoError(t, os.Mkdir(filepath.Join(cmd.Dir, "campaigns"), 0o700))
	cmd.Env = append(os.Environ(), "PATH="+asCommand(t)+":"+os.Getenv("PATH"), "HOME="+cmd.Dir, "TERM=dumb", "LC_ALL=C.UTF-8")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func TestBashCompletes(t *testing.T) {
	const complete = `
source <(smscancel completion bash)
complete -p smscancel
ask() { # WORDS..., as bash breaks them
	COMP_WORDS=(smscancel "$@") COMP_CWORD=$# COMPREPLY=()
	_smscancel
	printf '%s|' "${COMPREPLY[@]}"; echo
}
ask out
ask outcomes --format ''
ask outcomes --format = j
ask outcomes --format =
ask redrive --status failed,e
ask outcomes --status = failed,e
ask submit ca
ask worker --config = campaign.
ask submit --state-dir ca
ask worker --brokers ''
`
	assert.Equal(t, `complete -F _smscancel smscancel
outcomes|
table|json|csv|
json|
table|json|csv|
failed,expired|
failed,expired|
campaign one.csv|campaign.csv|campaigns|
campaign.csv|
campaigns|
|
`, sortedFiles(shell(t, "bash", "--norc", "-c", complete)))
}

// sortedFiles puts the line of the three files, which a shell lists as they come, in order.
func sortedFiles(shown string) string {
	lines := strings.Split(shown, "\n")
	for i, line := range lines {
		if strings.Contains(line, "campaign one.csv|") {
			names := strings.Split(strings.TrimSuffix(line, "|"), "|")
			slices.Sort(names)
			lines[i] = strings.Join(names, "|") + "|"
		}
	}
	return strings.Join(lines, "\n")
}

func TestFishCompletes(t *testing.T) {
	shown := shell(t, "fish", "--no-config", "-c", `
smscancel completion fish | source
for line in 'smscancel out' 'smscancel outcomes --format=j' 'smscancel redrive --status failed,e' 'smscancel submit campaign.' 'smscancel submit --state-dir ca' 'smscancel worker --config=campaign.'
    complete -C $line | string replace -r '\t.*' ''
end
true`)
	assert.Equal(t, "outcomes\n--format=json\nfailed,expired\ncampaign.csv\ncampaigns/\n--config=campaign.csv\n", shown)
}

// In zsh completion lives in the line editor, so Tab is pressed on a terminal,
// and what then stands in the line is shown.
func TestZshCompletes(t *testing.T) {
	shown := shell(t, "zsh", "-f", "-c", `
cat >init.zsh <<'END'
unset zle_bracketed_paste; PS1=
autoload -U compinit; compinit -u -D
source <(smscancel completion zsh)
press-tab() { zle expand-or-complete; print -r -- "<$BUFFER>"; zle kill-buffer }
zle -N press-tab; bindkey '^I' press-tab
print ready
END
zmodload zsh/zpty
zpty z zsh -f -i
upto() { local line; while zpty -r z line; do [[ $line == *$~1* ]] && { print -r -- "$line"; return }; done }
zpty -w z "source init.zsh"
upto ready >/dev/null
for line in 'out' 'outcomes --foll' 'outcomes --format=j' 'redrive --status failed,e' 'submit campaign.' 'submit campaign\ ' 'submit --state-dir ca' 'worker --config=campaign.'; do
	zpty -n -w z "smscancel $line"$'\t'
	upto '<smscancel*>'
done
zpty -d z`)
	var lines []string
	for line := range strings.Lines(shown) {
		if at := strings.Index(line, "<smscancel "); at >= 0 {
			end := strings.LastIndex(line, ">")
			lines = append(lines, line[at+len("<smscancel "):end+1])
		}
	}
	assert.Equal(t, []string{"outcomes >", "outcomes --follow >", "outcomes --format=json >", "redrive --status failed,expired >", "submit campaign.csv >",
		`submit campaign\ one.csv >`, "submit --state-dir campaigns/>", "worker --config=campaign.csv >"}, lines)
}
