package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"smscancel/cmd/smscancel/process"
)

// liveKeys are the keys of the file that take effect without a restart.
var liveKeys = map[string]bool{"rate-limit": true, "rate-limit-total": true, "sub-accounts": true, "paused": true, "withdrawn-campaigns": true}

// reloader reads the configuration file again while the worker runs. It compares
// content: what Kubernetes mounts is a symbolic link that is swapped, whose times
// and size may be the same as before. And it believes a content only when it reads
// it twice in a row: a file that is being written is short, or empty, for a moment,
// and what is withdrawn would go out.
type reloader struct {
	env   environment // of the start
	path  string
	log   *zerolog.Logger
	live  process.Live      // in force
	start map[string]string // what the keys that need a restart held
	said  map[string]string // what was said of them

	last, judged reading
	problem      error // of what was judged
}

// reading is what one look at the file found.
type reading struct {
	content []byte
	failure string
}

func (r reading) equal(other reading) bool {
	return r.failure == other.failure && bytes.Equal(r.content, other.content)
}

// reloadFunc returns what reads the configuration file again, nil where there is
// none. A pipe gives its content once.
func reloadFunc(env environment, log *zerolog.Logger, live process.Live) process.ReloadFunc {
	path := configPath(env)
	if path == "" || env.config == nil {
		return nil
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		log.Warn().Str("config", path).Msg("the configuration is no regular file: it is not read again")
		return nil
	}
	found := reading{content: *env.config}
	r := &reloader{env: env, path: path, log: log, live: live, said: map[string]string{}, last: found, judged: found}
	r.start = fixedKeys(loadConfigFile(env))
	return r.reload
}

// reload implements process.ReloadFunc.
func (r *reloader) reload() (process.Live, bool, error) {
	now := r.read()
	if !now.equal(r.last) {
		r.last = now
		return r.live, false, r.problem
	}
	if now.equal(r.judged) {
		return r.live, false, r.problem
	}
	r.judged = now
	var live process.Live
	if live, r.problem = r.judge(now); r.problem != nil {
		return r.live, false, r.problem
	}
	changed := !reflect.DeepEqual(live, r.live)
	r.live = live
	return live, changed, nil
}

func (r *reloader) read() reading {
	content, err := readConfigFile(r.path)
	if err != nil {
		return reading{failure: fmt.Sprintf("--config: %q: %v", r.path, err)}
	}
	return reading{content: content}
}

// judge says what is to be in force. Only the file is judged: a certificate that
// is missing by now must not stand in the way of an emergency stop.
func (r *reloader) judge(found reading) (process.Live, error) {
	switch {
	case found.failure != "":
		return process.Live{}, errors.New(found.failure)
	case len(bytes.TrimSpace(found.content)) == 0: // a disk that is full leaves such a file
		return process.Live{}, fmt.Errorf("--config: %q: it is empty; write {} if that is meant", r.path)
	}
	env := r.env
	env.config = &found.content
	file := loadConfigFile(env)
	p := &parsing{kept: lenient{}}
	parser, err := p.parser(env, file)
	if err != nil {
		return process.Live{}, err
	}
	chosen, _ := p.chosen(parser, env, file)
	flags, ok := chosen.(*WorkerCmd)
	if !ok {
		return process.Live{}, p.mistakes
	}
	flags.checkRates(&p.mistakes)
	live := flags.live(file, &p.mistakes)
	if len(p.mistakes) > 0 {
		return process.Live{}, shortened(p.mistakes)
	}
	r.sayIgnored(fixedKeys(file))
	return live, nil
}

// shortened names the first mistakes: a large file may have very many.
func shortened(mistakes usageError) error {
	const most = 5
	if more := len(mistakes) - most; more > 0 {
		return fmt.Errorf("%w; and %d more", mistakes[:most], more)
	}
	return mistakes
}

// fixedKeys are the keys of a file that need a restart, with what they hold.
func fixedKeys(f *configFile) map[string]string {
	fixed := map[string]string{}
	for key, value := range f.values {
		if !liveKeys[key] && !isNull(value) {
			fixed[key] = fmt.Sprint(flagValue(value))
		}
	}
	return fixed
}

// sayIgnored names, once, the keys that do not hold what they held at the start.
func (r *reloader) sayIgnored(fixed map[string]string) {
	var news []string
	for key := range merged(r.start, fixed) {
		value := fixed[key]
		if said, ok := r.said[key]; value != r.start[key] && (!ok || said != value) {
			r.said[key] = value
			news = append(news, key)
		}
	}
	if len(news) > 0 {
		slices.Sort(news)
		r.log.Warn().Str("keys", strings.Join(news, ", ")).Msg("these keys of the configuration file need a restart, ignored")
	}
}

func merged(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
