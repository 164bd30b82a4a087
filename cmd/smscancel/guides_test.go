package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// root is the repository.
const root = "../.."

// guide is a Markdown file: its text without what stands in fences, and these.
type guide struct {
	path   string // below root
	prose  string
	blocks []block
}

// block is what stands between two fences.
type block struct {
	lang  string
	lines []string
}

// fences are the languages that a block may have: those that show commands, and
// those that do not.
var fences = []string{"console", "sh", "text", "json", "yaml", "csv"}

// guides are all Markdown files.
func guides(t *testing.T) (all []guide) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains([]string{".git", "bin", "target", ".venv"}, entry.Name()):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			all = append(all, readGuide(t, path))
		}
		return nil
	}))
	require.GreaterOrEqual(t, len(all), 8, "guides")
	return all
}

func readGuide(t *testing.T, path string) guide {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	name, err := filepath.Rel(root, path)
	require.NoError(t, err)
	g := guide{path: name}
	var inside *block
	for line := range strings.SplitSeq(string(content), "\n") {
		lang, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && inside == nil:
			assert.Contains(t, fences, lang, "%s: the language of a block", name)
			inside = &block{lang: lang}
		case isFence:
			g.blocks = append(g.blocks, *inside)
			inside = nil
		case inside != nil:
			inside.lines = append(inside.lines, line)
		default:
			g.prose += line + "\n"
		}
	}
	require.Nil(t, inside, "%s: a block without an end", name)
	return g
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	unslug  = regexp.MustCompile(`[^\p{L}\p{N}\-_ ]`)
)

// anchors are what GitHub makes of the headings.
func (g guide) anchors() (all []string) {
	for _, m := range heading.FindAllStringSubmatch(g.prose, -1) {
		text := link.ReplaceAllString(m[1], "]")
		all = append(all, strings.ReplaceAll(unslug.ReplaceAllString(strings.ToLower(text), ""), " ", "-"))
	}
	return all
}

func TestEveryLinkOfAGuideLeadsSomewhere(t *testing.T) {
	links := 0
	for _, g := range guides(t) {
		for _, m := range link.FindAllStringSubmatch(g.prose, -1) {
			if strings.HasPrefix(m[1], "https://") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := filepath.Join(root, filepath.Dir(g.path), path)
			if path == "" {
				target = filepath.Join(root, g.path)
			}
			if _, err := os.Stat(target); !assert.NoError(t, err, g.path) || anchor == "" {
				continue
			}
			assert.Contains(t, readGuide(t, target).anchors(), anchor, "%s: %s", g.path, m[1])
		}
	}
	assert.Greater(t, links, 50)
}

func TestNoHeadingOfAGuideStandsTwice(t *testing.T) {
	for _, g := range guides(t) {
		anchors := g.anchors()
		slices.Sort(anchors)
		assert.Equal(t, slices.Compact(slices.Clone(anchors)), anchors, g.path)
	}
}

func TestReadmeIsOnePage(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	assert.Less(t, len(content), 12<<10, "bytes; a task belongs in the guide of who has it")
}

// inline are commands in the midst of a sentence.
var inline = regexp.MustCompile("`((?:smscancel|make) [^`]+)`")

// A command in a sentence is run nowhere, but the program must take it.
func TestCommandsInSentencesAreUnderstood(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	found := 0
	for _, g := range guides(t) {
		for _, m := range inline.FindAllStringSubmatch(g.prose, -1) {
			found++
			words := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(m[1], "…", "1h"), `\|`, "|"))
			if words[0] == "make" {
				assert.Contains(t, string(makefile), "\n"+words[1]+":", "%s: %s", g.path, m[1])
				continue
			}
			for _, mistake := range mistakesIn(words[1:]) {
				assert.Contains(t, mistake, "no such file", "%s: %s", g.path, m[1])
			}
		}
	}
	assert.Greater(t, found, 10)
}

// mistakesIn are those that the program finds in its arguments.
func mistakesIn(args []string) usageError {
	vars := map[string]string{"SMSCANCEL_BROKERS": "a:1"}
	if !slices.Contains(args, "--api-key-file") {
		vars["SMSCANCEL_API_KEY"] = "k"
	}
	env := environment{args: args, lookup: lookupIn(vars)}
	chosen, err := parse(env)
	if mistakes, wrong := err.(usageError); wrong {
		return mistakes
	}
	if chosen == nil {
		return nil // help
	}
	return check(chosen, env)
}
