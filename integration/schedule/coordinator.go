package schedule

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// coordinator makes up for one thing in which the embedded broker's group
// coordinator is unlike Kafka's: every join sets the deadline of the rebalance
// back, so that members which join, wait in vain and join again keep it from
// ever passing. Kafka's deadline stands. New members wait outside here while a
// rebalance is overdue.
type coordinator struct {
	world *world
	stop  chan struct{}
	done  chan struct{}

	mu      sync.Mutex
	since   time.Time     // when the rebalance under way began; zero = there is none
	changed chan struct{} // closed when there is none any more
}

func (w *world) watchCoordinator() *coordinator {
	c := &coordinator{world: w, stop: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{})}
	go c.run()
	return c
}

func (c *coordinator) run() {
	defer close(c.done)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			info := c.world.cluster.GroupInfo(group)
			c.note(info != nil && info.State == "PreparingRebalance")
		case <-c.stop:
			c.note(false)
			return
		}
	}
}

func (c *coordinator) note(preparing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case preparing && c.since.IsZero():
		c.since = time.Now()
	case !preparing && !c.since.IsZero():
		c.since = time.Time{}
		close(c.changed)
		c.changed = make(chan struct{})
	}
}

// admit holds a new member while a rebalance is overdue, or until it gives up.
func (c *coordinator) admit(r *kmsg.JoinGroupRequest, gone <-chan struct{}) {
	if r.MemberID != "" {
		return
	}
	for {
		c.mu.Lock()
		overdue, changed := !c.since.IsZero() && time.Since(c.since) > c.world.plan.Setting.SessionTimeout, c.changed
		c.mu.Unlock()
		if !overdue {
			return
		}
		select {
		case <-changed:
		case <-gone:
			return
		}
	}
}

func (c *coordinator) close() {
	close(c.stop)
	<-c.done
}
