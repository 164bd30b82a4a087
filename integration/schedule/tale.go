package schedule

import (
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"time"
)

// tale is what happened in a run, in words and in numbers. It is safe for
// concurrent use.
type tale struct {
	born   time.Time
	mu     sync.Mutex
	words  strings.Builder
	counts map[string]int
	aloud  io.Writer // hears every word at once; nil = nobody
}

// Aloud hears of everything that happens, at once; nil = nobody.
var Aloud io.Writer

func newTale(born time.Time) *tale { return &tale{born: born, counts: map[string]int{}, aloud: Aloud} }

func (t *tale) tell(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := fmt.Sprintf("%10.3fs  %s\n", time.Since(t.born).Seconds(), fmt.Sprintf(format, args...))
	t.words.WriteString(line)
	if t.aloud != nil {
		t.aloud.Write([]byte(line)) //nolint:errcheck // for a person who watches
	}
}

// count adds to the numbers of a summary.
func (t *tale) count(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what]++
}

func (t *tale) numbers() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.counts)
}

func (t *tale) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.words.String()
}
