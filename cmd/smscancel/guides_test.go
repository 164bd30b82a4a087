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

// target is what make is told in the midst of a sentence.
var target = regexp.MustCompile("`make ([a-z-]+)[^`]*`")

func TestTheMakefileHasEveryTargetThatAGuideNames(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	found := 0
	for _, g := range guides(t) {
		for _, m := range target.FindAllStringSubmatch(g.prose, -1) {
			found++
			assert.Contains(t, string(makefile), "\n"+m[1]+":", "%s: %s", g.path, m[0])
		}
	}
	assert.Greater(t, found, 10)
}
