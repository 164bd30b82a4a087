package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"smscancel/cmd/smscancel/process"
	"smscancel/worker/policy"
)

// rereader is a worker's view of its configuration file, which the test changes.
type rereader struct {
	t      *testing.T
	path   string
	log    bytes.Buffer
	reload process.ReloadFunc
}

func newRereader(t *testing.T, content string, args ...string) *rereader {
	t.Helper()
	r := &rereader{t: t, path: fileWith(t, "config.yaml", content)}
	r.open(args...)
	return r
}

// open starts, as far as a worker does so before it needs Kafka.
func (r *rereader) open(args ...string) process.Config {
	r.t.Helper()
	vars := map[string]string{"SMSCANCEL_API_KEY": "k"}
	env := environment{args: append([]string{"worker", "--brokers=a:1", "--config", r.path}, args...), lookup: lookupIn(vars)}.withConfig()
	parsed, err := parse(env)
	require.NoError(r.t, err)
	var mistakes usageError
	cfg := parsed.(*WorkerCmd).config(env, &mistakes, func(error) {})
	require.Empty(r.t, mistakes)
	log := zerolog.New(&r.log)
	r.reload = reloadFunc(env, &log, cfg.Live)
	return cfg
}

func (r *rereader) write(content string) {
	r.t.Helper()
	require.NoError(r.t, os.WriteFile(r.path, []byte(content), 0o600))
}

// unchanged looks twice, and both times the settings are those from before.
func (r *rereader) unchanged() error {
	r.t.Helper()
	var err error
	for range 2 {
		var changed bool
		_, changed, err = r.reload()
		require.False(r.t, changed)
	}
	return err
}

// changed looks twice, and the second time the settings are others.
func (r *rereader) changed() process.Live {
	r.t.Helper()
	_, changed, _ := r.reload()
	require.False(r.t, changed, "believed at first sight")
	live, changed, err := r.reload()
	require.NoError(r.t, err)
	require.True(r.t, changed)
	return live
}

func TestLiveKeysAreReadAgain(t *testing.T) {
	r := newRereader(t, "rate-limit: 100\n")
	require.NoError(t, r.unchanged())
	r.write(`
rate-limit: 5
rate-limit-total: 7
sub-accounts: {acme_shop: {rate-limit: 3}}
paused: {campaigns: [late]}
withdrawn-campaigns: [wrong]
`)
	assert.Equal(t, process.Live{RateLimit: 5, RateLimitTotal: 7, SubAccountRate: map[string]float64{"acme_shop": 3},
		Held: policy.Rules{Campaigns: []string{"late"}, Withdrawn: []string{"wrong"}}}, r.changed())
	require.NoError(t, r.unchanged())
	r.write("paused: true\n")
	assert.Equal(t, process.Live{RateLimit: 1800, RateLimitTotal: 3000, Held: policy.Rules{PauseAll: true}}, r.changed(), "keys that are gone have their defaults")
	r.write("# nothing is held back\npaused: true\n")
	require.NoError(t, r.unchanged())
	r.write("{}\n")
	assert.Equal(t, process.Live{RateLimit: 1800, RateLimitTotal: 3000}, r.changed())
}

func TestFlagsAndEnvironmentBeatTheFileAlsoWhenItIsReadAgain(t *testing.T) {
	r := newRereader(t, "rate-limit: 100\n", "--rate-limit=9")
	r.write("rate-limit: 200\n")
	require.NoError(t, r.unchanged())
	r.write("rate-limit: 200\nrate-limit-total: 4\n")
	live := r.changed()
	assert.Equal(t, []float64{9, 4}, []float64{live.RateLimit, live.RateLimitTotal})
}

// Fault: the file cannot be used. Promise: the settings stay as they are, and the
// error says what is wrong, until it is mended.
func TestAFaultyFileKeepsTheOldSettings(t *testing.T) {
	const good = "withdrawn-campaigns: [wrong]\n"
	for name, c := range map[string]struct {
		spoil func(r *rereader)
		want  string
	}{
		"no YAML":            {func(r *rereader) { r.write("paused: [") }, "yaml: "},
		"an unknown key":     {func(r *rereader) { r.write("withdrawn-campaign: [wrong]\n") }, `line 1: unknown key "withdrawn-campaign"`},
		"a wrong value":      {func(r *rereader) { r.write("paused: maybe\n") }, `line 1: paused: "maybe"`},
		"a wrong rate":       {func(r *rereader) { r.write("rate-limit: -1\n") }, `--rate-limit: -1`},
		"no number":          {func(r *rereader) { r.write("rate-limit: fast\n") }, `--rate-limit: "fast" is no number`},
		"a fixed key":        {func(r *rereader) { r.write("window: many\n") }, `--window: "many" is no whole number`},
		"a sub-account":      {func(r *rereader) { r.write("sub-accounts: {acme_shop: 5}\n") }, `sub-accounts.acme_shop: write {rate-limit: N}`},
		"a key twice":        {func(r *rereader) { r.write(good + good) }, `withdrawn-campaigns stands twice`},
		"two documents":      {func(r *rereader) { r.write(good + "---\n{}\n") }, "more than one document"},
		"empty":              {func(r *rereader) { r.write("") }, "it is empty; write {} if that is meant"},
		"blank":              {func(r *rereader) { r.write(" \n\n") }, "it is empty; write {} if that is meant"},
		"removed":            {func(r *rereader) { r.t.Log(os.Remove(r.path)) }, "no such file or directory"},
		"a directory":        {func(r *rereader) { r.t.Log(os.Remove(r.path), os.Mkdir(r.path, 0o700)) }, "is a directory"},
		"a link to itself":   {func(r *rereader) { r.t.Log(os.Remove(r.path), os.Symlink(r.path, r.path)) }, "too many levels of symbolic links"},
		"zero bytes":         {func(r *rereader) { r.write(strings.Repeat("\x00", 100)) }, "yaml: "},
		"very many mistakes": {func(r *rereader) { r.write("withdrawn-campaigns: [" + strings.Repeat("'',", 10_000) + "]") }, "and 9995 more"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRereader(t, good)
			c.spoil(r)
			err := r.unchanged()
			require.ErrorContains(t, err, c.want)
			assert.Equal(t, err, r.unchanged(), "said again")
			assert.Less(t, len(err.Error()), 1500)
			os.Remove(r.path) //nolint:errcheck // it may be a directory, or gone
			r.write(good)
			require.NoError(t, r.unchanged(), "mended")
			r.write("{}")
			assert.Empty(t, r.changed().Held.Withdrawn)
		})
	}
}

// Fault: the file is being written while the worker looks: it is empty, then
// short. Promise: what it held before stays in force until it is whole.
func TestAFileThatIsBeingWrittenIsNotBelieved(t *testing.T) {
	r := newRereader(t, "withdrawn-campaigns:\n- one\n- two\n- three\n")
	for _, part := range []string{"", "with", "withdrawn-campaigns:\n", "withdrawn-campaigns:\n- one\n", "withdrawn-campaigns:\n- one\n- two\n"} {
		r.write(part)
		live, changed, err := r.reload()
		require.NoError(t, err)
		assert.False(t, changed)
		assert.Len(t, live.Held.Withdrawn, 3)
	}
	r.write("withdrawn-campaigns:\n- one\n- two\n- three\n- four\n")
	assert.Len(t, r.changed().Held.Withdrawn, 4)
}

// Kubernetes mounts a ConfigMap as links to a directory, which it swaps for
// another one; here with the same size and times as before.
func TestAConfigMapThatIsSwappedIsSeen(t *testing.T) {
	mount := t.TempDir()
	old := time.Now().Add(-time.Hour)
	version := func(name, content string) {
		dir := filepath.Join(mount, "..v"+name)
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(content), 0o600))
		require.NoError(t, os.Chtimes(filepath.Join(dir, "config.yaml"), old, old))
		require.NoError(t, os.Symlink("..v"+name, filepath.Join(mount, "..tmp")))
		require.NoError(t, os.Rename(filepath.Join(mount, "..tmp"), filepath.Join(mount, "..data")))
	}
	version("1", "withdrawn-campaigns: [a]\n")
	require.NoError(t, os.Symlink("..data/config.yaml", filepath.Join(mount, "config.yaml")))
	r := &rereader{t: t, path: filepath.Join(mount, "config.yaml")}
	r.open()
	version("2", "withdrawn-campaigns: [b]\n")
	assert.Equal(t, []string{"b"}, r.changed().Held.Withdrawn)
	require.NoError(t, os.RemoveAll(filepath.Join(mount, "..v2")))
	require.ErrorContains(t, r.unchanged(), "no such file")
	version("3", "withdrawn-campaigns: [c]\n")
	assert.Equal(t, []string{"c"}, r.changed().Held.Withdrawn)
}

func TestOtherKeysThatChangeAreIgnoredAndNamedOnce(t *testing.T) {
	r := newRereader(t, "window: 100\ngroup: g\nbrokers: [a:1]\n", "--http-addr=")
	said := func() string { s := r.log.String(); r.log.Reset(); return s }
	r.write("window: 200\ngroup: g\nbrokers: [a:1, b:2]\nconcurrency: 5\npaused: true\n")
	r.changed()
	line := said()
	assert.Contains(t, line, `"keys":"brokers, concurrency, window"`)
	assert.Equal(t, 1, strings.Count(line, "\n"))
	r.write("window: 200\ngroup: g\nbrokers: [a:1, b:2]\nconcurrency: 5\n")
	r.changed()
	assert.Empty(t, said(), "said before")
	r.write("window: 100\nbrokers: [a:1]\npaused: true\n")
	r.changed()
	assert.Contains(t, said(), `"keys":"group"`, "the others are as at the start again")
}

func TestAPipeIsReadOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	go func() {
		if err := os.WriteFile(path, []byte("sub-accounts: {acme_shop: {rate-limit: 3}}\nwithdrawn-campaigns: [wrong]\n"), 0); err != nil {
			t.Error(err)
		}
	}()
	r := &rereader{t: t, path: path}
	cfg := r.open()
	assert.Equal(t, map[string]float64{"acme_shop": 3}, cfg.SubAccountRate)
	assert.Equal(t, []string{"wrong"}, cfg.Held.Withdrawn)
	assert.Nil(t, r.reload)
	assert.Contains(t, r.log.String(), "no regular file")
}

func TestWithoutAFileNothingIsReadAgain(t *testing.T) {
	assert.Nil(t, reloadFunc(environment{args: []string{"worker"}, lookup: lookupIn(nil)}.withConfig(), nil, process.Live{}))
}

// An emergency stop must work where something else is broken by now.
func TestWhatElseIsWrongByNowIsNotInTheWayOfAPause(t *testing.T) {
	ca := fileWith(t, "ca.pem", "")
	path := fileWith(t, "config.yaml", "rate-limit: 5\n")
	env := environment{args: []string{"worker", "--config", path, "--api-ca-file", ca}, lookup: lookupIn(nil)}.withConfig()
	log := zerolog.Nop()
	r := &rereader{t: t, path: path, reload: reloadFunc(env, &log, process.Live{RateLimit: 5, RateLimitTotal: 3000})}
	require.NoError(t, os.Remove(ca))
	r.write("rate-limit: 5\npaused: true\n")
	assert.True(t, r.changed().Held.PauseAll)
}

func TestALargeListIsReadInNoTime(t *testing.T) {
	r := newRereader(t, "{}\n")
	var text strings.Builder
	text.WriteString("withdrawn-campaigns:\n")
	for i := range 100_000 {
		fmt.Fprintf(&text, "- campaign-of-the-autumn-%06d\n", i)
	}
	r.write(text.String())
	start := time.Now()
	assert.Len(t, r.changed().Held.Withdrawn, 100_000)
	judged := time.Since(start)
	start = time.Now()
	for range 10 {
		require.NoError(t, r.unchanged())
	}
	t.Logf("%d bytes: taken over in %s, looked at in %s", text.Len(), judged, time.Since(start)/20)
}
