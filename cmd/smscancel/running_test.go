package main

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// running is the program at work in this process.
type running struct {
	t      *testing.T
	stop   context.CancelFunc
	over   chan struct{} // closed when it has ended
	code   int
	stdout screen
	stderr screen
}

// start runs the program until stop, or the end of the test.
func start(t *testing.T, vars map[string]string, args ...string) *running {
	t.Helper()
	r := &running{t: t}
	return r.start(vars, &r.stderr, args)
}

func (r *running) start(vars map[string]string, stderr io.Writer, args []string) *running {
	t := r.t
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r.stop, r.over = stop, make(chan struct{})
	go func() {
		defer close(r.over)
		r.code = run(ctx, environment{args: args, lookup: lookupIn(vars), stdout: &r.stdout, stderr: stderr})
	}()
	t.Cleanup(func() {
		stop()
		<-r.over
	})
	return r
}

// await waits until what a screen shows matches, and returns the first group.
func (r *running) await(on *screen, pattern string) string {
	r.t.Helper()
	wanted := regexp.MustCompile(pattern)
	for {
		shown, changed := on.look()
		if m := wanted.FindStringSubmatch(shown); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-changed:
		case <-r.over:
			if shown, _ := on.look(); !wanted.MatchString(shown) {
				require.Failf(r.t, "the program ended", "exit code %d, wanted %s\n%s%s", r.code, pattern, r.stdout.String(), r.stderr.String())
			}
		}
	}
}

// end stops the program and returns its exit code.
func (r *running) end() int {
	r.stop()
	return r.wait()
}

func (r *running) wait() int {
	<-r.over
	return r.code
}

// screen keeps what was written and tells those who wait for more.
type screen struct {
	mu      sync.Mutex
	shown   bytes.Buffer
	changed chan struct{}
}

// Write implements io.Writer.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
	return s.shown.Write(b)
}

func (s *screen) look() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.shown.String(), s.changed
}

func (s *screen) String() string {
	shown, _ := s.look()
	return shown
}

// counts are the lines of a summary: what stands first, and the number.
func counts(shown string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(shown) {
		if cells := strings.Fields(line); len(cells) == 2 {
			found[cells[0]] = cells[1]
		}
	}
	return found
}
