package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
)

// progress is one live line on a terminal, and a line now and then elsewhere.
type progress struct {
	out   io.Writer
	total int
	live  bool

	mu   sync.Mutex
	done int
	stop chan struct{}
	over sync.WaitGroup
}

func startProgress(out io.Writer, total int) *progress {
	p := &progress{out: out, total: total, stop: make(chan struct{})}
	if f, ok := out.(*os.File); ok {
		p.live = isatty.IsTerminal(f.Fd())
	}
	p.over.Go(p.run)
	return p
}

func (p *progress) run() {
	every := time.Second
	if p.live {
		every = 100 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.show()
		case <-p.stop:
			p.show()
			if p.live {
				fmt.Fprintln(p.out)
			}
			return
		}
	}
}

func (p *progress) show() {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := fmt.Sprintf("outcomes %d of %d (%d %%)", p.done, p.total, 100*p.done/max(p.total, 1))
	if p.live {
		fmt.Fprintf(p.out, "\r\033[K%s", line)
		return
	}
	fmt.Fprintln(p.out, line)
}

func (p *progress) step() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
}

func (p *progress) end() {
	close(p.stop)
	p.over.Wait()
	fmt.Fprintln(p.out)
}
