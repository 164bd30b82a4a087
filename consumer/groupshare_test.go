package consumer

import (
	"fmt"
	"math"
	"testing"
)

// limit gives a replica a limit for all of its calls together, and reads how
// much of it is its own.
func (r *replica) limit(perSecond float64) { r.Handler.Admission.SetRates(0, perSecond, nil) }

func (r *replica) allowed() float64 { return r.Handler.Admission.Snapshot().Destination.RateAllowed }

// Promise: the limits of all members together are the limits of the group, shared
// as the partitions are, also after members have come and gone.
func TestMembersShareTheLimitsAsTheyShareThePartitions(t *testing.T) {
	s := newStage(t, 4)
	allowed := func(r *replica, want float64) {
		t.Helper()
		s.eventually(fmt.Sprintf("%v calls per second allowed", want), func() error {
			if got := r.allowed(); math.Abs(got-want) > 1e-3 {
				return fmt.Errorf("%v are", got)
			}
			return nil
		})
	}
	one, two := s.consumer(newAPI().call), s.consumer(newAPI().call)
	one.limit(1000)
	two.limit(1000)
	s.run(one)
	s.running(one, 4)
	allowed(one, 1000)
	s.run(two)
	s.running(one, 2)
	s.running(two, 2)
	allowed(one, 500)
	allowed(two, 500)
	one.stop()
	s.running(two, 4)
	allowed(two, 1000)
	allowed(one, 0)
}

// Fault: a partition is taken over while its former owner still finishes calls.
// Promise: it counts for one of the two at any time, for the old one until its
// session is over, for the new one from then on.
func TestAPartitionCountsForOneMemberAtATime(t *testing.T) {
	s := newStage(t, 2)
	api := newAPI()
	api.gate = make(chan struct{})
	one, two := s.consumer(api.call), s.consumer(newAPI().call)
	one.limit(1000)
	two.limit(1000)
	s.run(one)
	s.running(one, 2)
	s.publish(0, 0, 1)
	s.publish(1, 0, 1)
	s.eventually("two calls in hand", func() error {
		if n := one.Handler.Admission.Snapshot().InFlight; n != 2 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	s.run(two)
	s.eventually("a partition that drains, and counts for its owner still", func() error {
		if one.in(StateDraining) != 1 {
			return fmt.Errorf("%+v", one.report().Partitions)
		}
		if one, two := one.allowed(), two.allowed(); math.Abs(one-1000) > 1e-3 || two > 1e-3 {
			return fmt.Errorf("its owner is allowed %v and the next one %v", one, two)
		}
		return nil
	})
	close(api.gate)
	s.running(two, 1)
	s.eventually("half of the limit for each", func() error {
		if a, b := one.allowed(), two.allowed(); math.Abs(a-500) > 1e-3 || math.Abs(b-500) > 1e-3 {
			return fmt.Errorf("%v and %v", a, b)
		}
		return nil
	})
}
