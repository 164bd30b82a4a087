package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

// Fault: three replicas are killed, paused, stopped and started at random,
// while the API answers late, fails after the effect, hangs and cuts
// connections. Promise: every request has exactly one outcome, and whatever the
// outcomes do not know they say (ambiguous). SMSCANCEL_STORM_SEED repeats a run,
// SMSCANCEL_STORM_STEPS makes it longer.
func TestEveryRequestHasOneOutcomeInAStorm(t *testing.T) {
	kafkatest.Require(t)
	seed := uint64(number("SMSCANCEL_STORM_SEED", int(time.Now().UnixNano()&0xffffff)))
	steps := number("SMSCANCEL_STORM_STEPS", length(25, 150))
	t.Logf("SMSCANCEL_STORM_SEED=%d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t, kafkatest.Shared(t), 6, simulator.Options{Faults: simulator.Faults{
		Rates: map[string]float64{"500-after": .01, "503": .02, "hang-after": .003, "hang-before": .002,
			"reset-after": .01, "reset-before": .01, "truncated": .01, "429": .01},
		Latency: simulator.Latency{Min: time.Millisecond, Max: 60 * time.Millisecond}, Seed: seed,
	}})
	s := &storm{world: w, dice: dice, flags: []string{"--attempt-timeout", "2s", "--concurrency", "60", "--retry-initial", "100ms"}}
	s.recruit(3)
	total := 0
	pace := time.NewTicker(700 * time.Millisecond)
	defer pace.Stop()
	for range steps {
		w.publish(batchOf(total, 200)...)
		total += 200
		s.step()
		<-pace.C
	}
	s.recover()
	w.waitForOutcomes(total)
	for _, r := range s.replicas {
		r.stop()
	}
	found := w.audit()
	t.Logf("%d requests, %d steps %v, %d calls, %v, %d ambiguous", total, steps, s.did, found.calls, found.byStatus, found.unclear)
}

func number(variable string, fallback int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return fallback
}

type storm struct {
	*world
	dice     *rand.Rand
	flags    []string
	replicas []*replica // nil = not running
	paused   []bool
	started  int
	did      map[string]int
}

func (s *storm) launch(i int) *replica {
	s.started++
	return s.start(fmt.Sprintf("replica-%d-%d", i, s.started), s.flags...)
}

// recruit starts n replicas.
func (s *storm) recruit(n int) {
	s.replicas, s.paused = make([]*replica, n), make([]bool, n)
	for i := range s.replicas {
		s.replicas[i] = s.launch(i)
	}
}

// recover lets every replica run again.
func (s *storm) recover() {
	for i, r := range s.replicas {
		switch {
		case r == nil:
			s.replicas[i] = s.launch(i)
		case s.paused[i]:
			s.paused[i] = false
			r.signal(syscall.SIGCONT)
		}
	}
}

// step does something to one replica.
func (s *storm) step() {
	i := s.dice.IntN(len(s.replicas))
	what := "nothing"
	switch r := s.replicas[i]; {
	case r == nil:
		what, s.replicas[i] = "start", s.launch(i)
	case s.paused[i]:
		what, s.paused[i] = "continue", false
		r.signal(syscall.SIGCONT)
	default:
		switch s.dice.IntN(4) {
		case 0:
			what, s.replicas[i] = "kill", nil
			r.kill()
		case 1:
			what, s.paused[i] = "pause", true
			r.signal(syscall.SIGSTOP)
		case 2:
			what, s.replicas[i] = "stop", nil
			r.stop()
		}
	}
	s.count(what)
}

func (s *storm) count(what string) {
	if s.did == nil {
		s.did = map[string]int{}
	}
	s.did[what]++
}
