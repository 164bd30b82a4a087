package schedule

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"smscancel/cmd/smscancel/process"
	"smscancel/integration/checker"
)

// replica is one process of the worker, wired as `smscancel worker` wires it.
type replica struct {
	slot    int
	name    string
	link    *link
	log     diary
	process *process.Process
	cancel  context.CancelFunc
	done    chan struct{}
	exit    error // valid once done is closed
}

// start runs a replica in a slot, unless one lives there.
func (w *world) start(slot int) { w.startIn(slot, group) }

// startRival runs a replica of another group for a while: the two fence each
// other.
func (w *world) startRival(e *Event) {
	w.startIn(rivalSlot, rivalGroup)
	w.after(e.For, func() { w.each(rivalSlot, (*replica).stop) })
}

const (
	rivalSlot  = maxSlots
	rivalGroup = "rival"
)

func (w *world) startIn(slot int, group string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old := w.slots[slot]; old != nil && old.lives() {
		return
	}
	r := &replica{slot: slot, name: fmt.Sprintf("replica-%d-%d", slot, len(w.replicas)), done: make(chan struct{})}
	r.link = newLink(w, slot, r.name)
	r.log.dead = r.link.gone
	var err error
	r.process, err = process.New(w.config(r, group), zerolog.New(&r.log).Level(zerolog.DebugLevel).With().Timestamp().Logger())
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	w.slots[slot] = r
	w.replicas = append(w.replicas, r)
	w.tale.tell("%s starts", r.name)
	go func() {
		defer close(r.done)
		r.exit = r.process.Run(ctx, nil)
	}()
}

func (w *world) config(r *replica, group string) process.Config {
	s := w.plan.Setting
	c := process.Config{
		Version: "schedule", Instance: r.name, Group: group, RequestTopics: w.topics(), OutcomeTopic: outcomeTopic,
		Cluster:        process.Cluster{Brokers: brokers, Connect: r.link.dialKafka},
		SessionTimeout: s.SessionTimeout, APIURL: "http://" + apiAddress, APIConnect: r.link.dialAPI, Keys: w.keys,
		DefaultSubAccount: s.DefaultSubAccount, AttemptTimeout: s.AttemptTimeout, Window: s.Window, Concurrency: s.Concurrency,
		Live:         process.Live{RateLimit: s.RateLimit, RateLimitTotal: s.RateLimit},
		RetryInitial: s.RetryInitial, RetryMaxInterval: s.RetryMaxInterval,
		RetryMaxElapsed: s.RetryMaxElapsed, RetryMaxAttempts: s.RetryMaxAttempts, RetryAfterMax: s.RetryAfterMax, AuthHold: s.AuthHold,
		DedupeWindow: s.DedupeWindow, DrainTimeout: s.DrainTimeout,
	}
	if !s.DeafToFile {
		w.file.configure(&c)
	}
	return c
}

// lives tells whether the process has neither crashed nor been told to stop.
func (r *replica) lives() bool {
	select {
	case <-r.link.gone:
		return false
	case <-r.done:
		return false
	default:
		return !r.link.view.isStopping()
	}
}

// stop is SIGTERM.
func (r *replica) stop() {
	r.link.view.stop()
	r.cancel()
}

// crash is SIGKILL at this instant. What still runs of the process in here can
// neither reach anybody nor write to its log any more.
func (w *world) crash(l *link) bool {
	if !l.kill() {
		return false
	}
	w.tale.tell("%s is gone", l.name)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.replicas {
		if r.link == l {
			r.cancel()
		}
	}
	return true
}

// diary is the log of a process until its end.
type diary struct {
	dead <-chan struct{}
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (d *diary) Write(line []byte) (int, error) {
	select {
	case <-d.dead:
		return len(line), nil
	default:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if Aloud != nil {
		Aloud.Write(line) //nolint:errcheck // for a person who watches
	}
	return d.text.Write(line)
}

func (d *diary) evidence(name string) checker.Log {
	d.mu.Lock()
	defer d.mu.Unlock()
	return checker.Log{Name: name, Text: bytes.Clone(d.text.Bytes())}
}
