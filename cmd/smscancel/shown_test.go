package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// standsFor is what the placeholders of the guides are in the scene. BROKER is
// the embedded broker's address; the environment has it for commands that name none.
var standsFor = [][2]string{
	{"go run ./cmd/smscancel", "smscancel"},
	{"bin/smscancel", "smscancel"},
	{"kafka1:9092,kafka2:9092", "BROKER"},
	{"kafka1:9092", "BROKER"},
	{"SMSCANCEL_API_KEY=…", "SMSCANCEL_API_KEY=dev"},
	{"some-query", "cat rows.ndjson"},
	{"| jq .umid", "| cat"},
	{"--since …", "--since 1h"},
}

// sceneFiles are the files that the guides name.
var sceneFiles = map[string]string{
	"campaign.csv": "umid,subAccountId,scheduledAt,metadata.order\n" +
		"9fa677ae-6b99-4215-85b3-6ee7b89d35c9,acme_shop,2030-05-04T09:00:00Z,A-1195\n" +
		"2f9b6c1e-3d4a-4b5c-8d6e-7f8091a2b3c4,acme_shop,2030-05-04T09:00:00Z,A-1196\n" +
		"0b1c2d3e-4f50-4617-8283-94a5b6c7d8e9,acme_bank,2030-05-04T09:00:00Z,A-1197\n" +
		"11111111-1111-4111-8111-111111111111,acme_bank,2020-05-04T09:00:00Z,A-1198\n" +
		"not-a-uuid,acme_shop,,A-1199\n",
	"wrong.csv":   "umid,subAccountId,scheduledAt\n" + someUMID + ",acme_shop,tomorrow\n" + someUMID + ",x,\n",
	"worker.yaml": "default-sub-account: acme_shop\n",
	"rows.ndjson": `{"umid":"5a0d1f6e-7c1b-4f57-9d0b-6b0d6c1f2a34"}` + "\n",
}

// settledBefore are the guides that look at a campaign that somebody else has sent.
var settledBefore = []string{"cmd/smscancel/outcomes/README.md"}

// endless are commands that run until Ctrl-C, and what shows that they are at work.
var endless = map[string]string{
	`smscancel worker`:   `partition taken over|joined the group`,
	`--follow`:           `autumn-sale`,
	`smscancel dev$`:     `Ctrl-C ends it`,
	`smscancel simulate`: `(?m)^admin `,
}

// runElsewhere are the commands that cannot run in the scene, and the test or
// the step of .ci/run that runs them.
var runElsewhere = map[string]string{
	`^make build$`:                  ".ci/run: make build",
	`^make kafka-image `:            ".ci/run: make test", // where it is missing
	`^docker compose |^make image `: "TestTheComposeFileRunsACampaign",
	`^(kubectl|helm) `:              "TestTheWorkerRunsOnTheChartsConfiguration",
	`^go build .*/examples/|^bin/outcomes-|integration/examples/(python|java)`: "TestTheExamplesHandleEveryOutcomeOnce",
	`^mkdir -p bin/model`:      "TestRemovingAPartBreaksIt",
	`^spin |^cp .*ledger\.pml`: "TestRemovingAPartBreaksIt",
}

// shownCmd is a command of a guide, with what the guide says that it prints.
type shownCmd struct {
	text   string
	output []string
	whole  bool // the output is shown
}

var comment = regexp.MustCompile(`\s+# .*$`)

// inline is a command in the midst of a sentence.
var inline = regexp.MustCompile("`(smscancel [^`]+)`")

// commands are those that a guide shows: in blocks, and then in sentences.
func (g guide) commands() (all []shownCmd) {
	for _, b := range g.blocks {
		for _, line := range b.lines {
			text, isCommand := strings.CutPrefix(line, "$ ")
			switch {
			case b.lang == "console" && isCommand:
				all = append(all, shownCmd{text: comment.ReplaceAllString(text, ""), whole: true})
			case b.lang == "console":
				last := &all[len(all)-1]
				last.output = append(last.output, line)
			case b.lang == "sh" && strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#"):
				all = append(all, shownCmd{text: strings.TrimSpace(comment.ReplaceAllString(line, ""))})
			}
		}
	}
	for _, m := range inline.FindAllStringSubmatch(g.prose, -1) {
		all = append(all, shownCmd{text: m[1]})
	}
	return all
}

// fails tells whether the guide shows that the command ends with an error.
func (c shownCmd) fails() bool {
	return len(c.output) > 0 && strings.HasPrefix(c.output[len(c.output)-1], "smscancel: ")
}

func TestEveryCommandOfAGuideRunsAndShowsWhatTheGuideSays(t *testing.T) {
	unused := map[string]bool{}
	for pattern := range runElsewhere {
		unused[pattern] = true
	}
	for _, g := range guides(t) {
		t.Run(g.path, func(t *testing.T) {
			var here *guideScene
			for _, c := range g.commands() {
				if pattern := matching(runElsewhere, c.text); pattern != "" {
					unused[pattern] = false
					continue
				}
				if here == nil {
					here = newGuideScene(t, g)
				}
				here.run(c)
			}
		})
	}
	for pattern, is := range unused {
		assert.False(t, is, "no guide shows %s", pattern)
	}
}

func TestWhatRunsElsewhereDoes(t *testing.T) {
	ci, err := os.ReadFile(filepath.Join(root, ".ci/run"))
	require.NoError(t, err)
	for pattern, by := range runElsewhere {
		if step, isStep := strings.CutPrefix(by, ".ci/run: "); isStep {
			assert.Contains(t, string(ci), step, pattern)
			continue
		}
		out, err := exec.CommandContext(t.Context(), "grep", "-rl", "--include=*_test.go", "^func "+by+"(", filepath.Join(root, "integration")).Output()
		assert.NoError(t, err, "%s: there is no %s", pattern, by)
		assert.NotEmpty(t, out, "%s: there is no %s", pattern, by)
	}
}

func matching(patterns map[string]string, text string) string {
	for pattern := range patterns {
		if regexp.MustCompile(pattern).MatchString(text) {
			return pattern
		}
	}
	return ""
}

// guideScene is `smscancel dev` and a directory with the files that guides name.
type guideScene struct {
	t      *testing.T
	dir    string
	broker string
	env    []string
}

func newGuideScene(t *testing.T, g guide) *guideScene {
	t.Helper()
	dev := start(t, nil, anyPorts...)
	s := &guideScene{t: t, dir: t.TempDir(), broker: dev.await(&dev.stdout, `(?m)^broker  (\S+)\n`)}
	api := dev.await(&dev.stdout, `(?m)^api     (\S+)\n`)
	dev.await(&dev.stdout, `Ctrl-C ends it`)
	s.env = append(os.Environ(), "PATH="+asCommand(t)+":"+os.Getenv("PATH"), "HOME="+s.dir, "SMSCANCEL_STATE_DIR="+filepath.Join(s.dir, "state"),
		"SMSCANCEL_BROKERS="+s.broker, "SMSCANCEL_API_URL="+api, "SMSCANCEL_API_KEY=dev", "SMSCANCEL_HTTP_ADDR=127.0.0.1:0", "SMSCANCEL_BROKER_PORT=0", "SMSCANCEL_API_ADDR=127.0.0.1:0")
	for name, content := range sceneFiles {
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "campaign.csv.gz"), gzipped(t, sceneFiles["campaign.csv"]), 0o600))
	integration, err := filepath.Abs(filepath.Join(root, "integration"))
	require.NoError(t, err)
	require.NoError(t, os.Symlink(integration, filepath.Join(s.dir, "integration")))
	for _, path := range settledBefore {
		if g.path == path {
			s.ask()
		}
	}
	return s
}

func gzipped(t *testing.T, content string) []byte {
	t.Helper()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, err := w.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return zipped.Bytes()
}

// ask submits the campaign and waits for its outcomes.
func (s *guideScene) ask() {
	s.t.Helper()
	got := smscancel(s.t, nil, "submit", filepath.Join(s.dir, "campaign.csv"), "--brokers", s.broker, "--campaign", "autumn-sale", "--wait", "--state-dir", s.t.TempDir())
	require.Contains(s.t, got.stdout, "total          5\n", got.stderr)
}

func (s *guideScene) run(c shownCmd) {
	s.t.Helper()
	text := c.text
	for _, pair := range standsFor {
		text = strings.ReplaceAll(text, pair[0], strings.ReplaceAll(pair[1], "BROKER", s.broker))
	}
	require.NotContains(s.t, text, "…", "a placeholder that standsFor does not know")
	cmd := exec.CommandContext(s.t.Context(), "bash", "-o", "pipefail", "-c", text)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shown := &screen{}
	cmd.Stdout, cmd.Stderr = shown, shown
	require.NoError(s.t, cmd.Start(), c.text)
	if pattern := matching(endless, text); pattern != "" {
		s.stop(cmd, shown, endless[pattern])
		return
	}
	err := cmd.Wait()
	assert.Equal(s.t, c.fails(), err != nil, "%s: %v\n%s", c.text, err, shown)
	if c.whole {
		assert.Regexp(s.t, shapeOf(c.output), essence(strings.ReplaceAll(shown.String(), s.broker, "kafka1:9092")), c.text)
	}
}

// stop gives a command something to do until it shows that it is at work, and
// presses Ctrl-C.
func (s *guideScene) stop(cmd *exec.Cmd, shown *screen, pattern string) {
	s.t.Helper()
	wanted := regexp.MustCompile(pattern)
	for !wanted.MatchString(shown.String()) {
		s.ask()
	}
	require.NoError(s.t, syscall.Kill(-cmd.Process.Pid, syscall.SIGINT))
	assert.NoError(s.t, cmd.Wait(), "%v\n%s", cmd.Args, shown)
}

var (
	progressLine = regexp.MustCompile(`(?m)^(submitted|requests|outcomes) [\d,]+( of [\d,]+ .*)?\n`)
	manySpaces   = regexp.MustCompile(`[ \t]+`)
	moments      = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z`)
	uuids        = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	lengths      = regexp.MustCompile(`\b\d[\d.,]*(ms|µs|s)\b`)
	numbers      = regexp.MustCompile(`\d+([.,]\d+)*`)
	blankLines   = regexp.MustCompile(`\n+`)
)

// essence leaves of an output what is the same in every run: no numbers,
// times and ids, no progress, no alignment.
func essence(output string) string {
	output = progressLine.ReplaceAllString(output+"\n", "")
	for _, r := range []struct {
		what *regexp.Regexp
		by   string
	}{{moments, "TIME"}, {uuids, "UUID"}, {lengths, "LENGTH"}, {numbers, "N"}, {manySpaces, " "}} {
		output = r.what.ReplaceAllString(output, r.by)
	}
	return strings.ReplaceAll(strings.Trim(blankLines.ReplaceAllString(output, "\n"), "\n"), " \n", "\n")
}

// shapeOf is the pattern of what a guide shows: … is anything, also several lines.
func shapeOf(lines []string) string {
	pattern := regexp.QuoteMeta(essence(strings.Join(lines, "\n")))
	pattern = strings.ReplaceAll(pattern, "\n…\n", "\n(?:.*\n)*?")
	return fmt.Sprintf(`^(?:%s)$`, strings.ReplaceAll(pattern, "…", ".*"))
}
