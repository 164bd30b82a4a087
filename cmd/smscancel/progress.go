package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
)

// progress is a bar on a terminal, and elsewhere a line now and then.
type progress struct {
	out     io.Writer
	what    string
	total   int64 // 0 = unknown
	bar     *progressbar.ProgressBar
	started time.Time

	mu    sync.Mutex
	begin int64 // of which nothing is known but that it is done
	done  int64
	noted bool // why nothing is done
	stop  chan struct{}
	over  sync.WaitGroup
}

// startProgress shows how much of a total is done. What was done before counts,
// but says nothing about the speed.
func startProgress(out io.Writer, what string, total int64, before ...int64) *progress {
	p := &progress{out: out, what: what, total: total, started: time.Now(), stop: make(chan struct{})}
	for _, n := range before {
		p.begin, p.done = p.begin+n, p.done+n
	}
	if f, ok := out.(*os.File); ok && isatty.IsTerminal(f.Fd()) {
		p.bar = newBar(out, what, total)
		p.bar.Set64(p.done) //nolint:errcheck // a terminal
		return p
	}
	p.over.Go(p.run)
	return p
}

func newBar(out io.Writer, what string, total int64) *progressbar.ProgressBar {
	if total <= 0 {
		total = -1 // unknown
	}
	return progressbar.NewOptions64(total, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetWidth(20), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionSetSpinnerChangeInterval(0)) // else it starts a goroutine that nobody ends
}

// run shows a line after 1, 2, 4 and 8 s, and then every 10 s.
func (p *progress) run() {
	const longest = 10 * time.Second
	pause := time.Second
	next := time.NewTimer(pause)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			p.show()
			pause = min(2*pause, longest)
			next.Reset(pause)
		case <-p.stop:
			p.show()
			return
		}
	}
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.out, p.line(time.Since(p.started)))
}

// line says how much is done; once there is a speed, also that, and how long the
// rest will take.
func (p *progress) line(since time.Duration) string {
	text := fmt.Sprintf("%s %s", p.what, grouped(p.done))
	if p.total > 0 {
		text = fmt.Sprintf("%s of %s (%d %%)", text, grouped(p.total), 100*p.done/p.total)
	}
	if speed := float64(p.done-p.begin) / since.Seconds(); since >= 2*time.Second && speed >= 1 {
		text += fmt.Sprintf(", %s/s", grouped(int64(speed)))
		if left := p.total - p.done; left > 0 {
			text += fmt.Sprintf(", %s left", (time.Duration(float64(left)/speed) * time.Second).Round(time.Second))
		}
	}
	return text
}

// grouped is a number with its thousands apart.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func (p *progress) step(n int64) {
	p.mu.Lock()
	p.done += n
	p.noted = false
	p.mu.Unlock()
	if p.bar != nil {
		p.bar.Add64(n) //nolint:errcheck // a terminal
	}
}

// note says why it does not go on: once until it does.
func (p *progress) note(why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.noted {
		return
	}
	p.noted = true
	if p.bar != nil {
		p.bar.Clear() //nolint:errcheck // a terminal
	}
	fmt.Fprintln(p.out, why)
}

func (p *progress) end() {
	close(p.stop)
	p.over.Wait()
	if p.bar != nil {
		p.bar.Exit() //nolint:errcheck // a terminal
		fmt.Fprintln(p.out)
	}
}
