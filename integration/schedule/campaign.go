package schedule

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Campaign runs many schedules in processes of their own: one that panics, or
// never ends, takes no other with it.
type Campaign struct {
	Schedules int
	Processes int
	File      string   // keeps the progress; a campaign with the same file goes on
	Commit    string   // what is tested; the progress of another one is thrown away
	Program   []string // runs the schedules from -seed on, -schedules many, and writes Lines
	Out       io.Writer

	mu       sync.Mutex
	progress *Progress
	queue    []span
}

// span is a run of seeds.
type span struct {
	first uint64
	n     int
}

const (
	spanLength = 20

	// silence is how long a process may say nothing, in real time: a schedule
	// takes a second.
	silence = 10 * time.Minute
)

// linePrefix begins the lines that a process writes for the campaign.
const linePrefix = "schedule: "

// Line is one step of a process.
type Line struct {
	Begin  uint64  `json:",omitempty"` // a seed that is about to run
	Result *Result `json:",omitempty"`
}

// Write writes a line.
func (l Line) Write(w io.Writer) {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(w, "%s%s\n", linePrefix, text)
}

// Run runs what is left to do, until ctx ends. It returns the totals.
func (c *Campaign) Run(ctx context.Context) (*Progress, error) {
	var err error
	if c.progress, err = loadProgress(c.File, c.Commit); err != nil {
		return nil, err
	}
	c.queue = c.progress.left(c.Schedules)
	var workers sync.WaitGroup
	for range c.Processes {
		workers.Go(func() {
			for ctx.Err() == nil {
				s, ok := c.next()
				if !ok {
					return
				}
				c.process(ctx, s)
			}
		})
	}
	workers.Wait()
	return c.progress, ctx.Err()
}

func (c *Campaign) next() (span, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 || len(c.progress.Failures) >= maxFailures {
		return span{}, false
	}
	s := c.queue[0]
	c.queue = c.queue[1:]
	return s, true
}

// process runs one span. What a process that dies leaves undone is queued again,
// but for the seed that it died of.
func (c *Campaign) process(ctx context.Context, s span) {
	args := append(c.Program[1:len(c.Program):len(c.Program)], fmt.Sprint("-seed=", s.first), fmt.Sprint("-schedules=", s.n))
	cmd := exec.Command(c.Program[0], args...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		cmd.Stderr = cmd.Stdout
		err = cmd.Start()
	}
	if err != nil {
		c.fail(s.first, fmt.Sprintf("start %v: %v", cmd.Args, err))
		return
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() }) //nolint:errcheck // it may have ended
	defer stop()
	quiet := time.AfterFunc(silence, func() { cmd.Process.Signal(syscall.SIGQUIT) }) //nolint:errcheck // it shows all its goroutines
	defer quiet.Stop()
	w := &witness{campaign: c, seed: s.first}
	reader := bufio.NewReaderSize(out, 1<<20)
	for {
		line, err := reader.ReadString('\n')
		quiet.Reset(silence)
		w.hear(line)
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return
	}
	done := int(w.seed - s.first) // seeds before it
	if w.running {
		c.fail(w.seed, fmt.Sprintf("the process ended with %v:\n%s", err, w.tail()))
		done++
	} else if err != nil && !w.failed {
		c.fail(w.seed, fmt.Sprintf("the process ended with %v after its last schedule:\n%s", err, w.tail()))
	}
	if left := s.n - done; w.running && left > 0 {
		c.mu.Lock()
		c.queue = append(c.queue, span{s.first + uint64(done), left})
		c.mu.Unlock()
	}
}

// witness listens to a process.
type witness struct {
	campaign *Campaign
	seed     uint64 // under way, or to come
	running  bool
	failed   bool
	said     []string // that is no line of ours, since the seed began
}

const maxSaid = 2000

func (w *witness) hear(text string) {
	own, ok := strings.CutPrefix(text, linePrefix)
	var line Line
	if !ok || json.Unmarshal([]byte(own), &line) != nil {
		if len(w.said) < maxSaid {
			w.said = append(w.said, text)
		}
		return
	}
	if line.Result == nil {
		w.seed, w.running, w.said = line.Begin, true, nil
		return
	}
	w.running, w.failed = false, w.failed || line.Result.Failure != ""
	w.seed = line.Result.Seed + 1
	w.campaign.note(line.Result)
}

func (w *witness) tail() string { return strings.Join(w.said, "") }

// note adds a result to the progress and keeps it.
func (c *Campaign) note(r *Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress.add(r)
	if r.Failure != "" {
		fmt.Fprintf(c.Out, "\nseed %d: %s\n", r.Seed, r.Failure)
	}
	if n := c.progress.done(); n%100 == 0 {
		fmt.Fprintf(c.Out, "%d schedules, %d requests, %d failures\n", n, c.progress.Counts.Requests, len(c.progress.Failures))
	}
	c.keep()
}

func (c *Campaign) fail(seed uint64, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress.Failures = append(c.progress.Failures, Failure{Seed: seed, What: why})
	c.progress.Done = append(c.progress.Done, seed)
	fmt.Fprintf(c.Out, "\nseed %d: %s\n", seed, why)
	c.keep()
}

func (c *Campaign) keep() {
	if err := c.progress.save(c.File); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
