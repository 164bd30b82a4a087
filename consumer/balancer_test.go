package consumer

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/segmentio/kafka-go"
)

// member is a group member in the tests: it owns what it was given until it
// has drained what it must give up.
type member struct {
	id         string
	generation int32
	owned      map[topicPartition]bool
}

func (m *member) join(topics []string) kafka.GroupMember {
	c := claims{Version: 1, Owned: map[string]map[int]int32{}}
	for tp := range m.owned {
		if c.Owned[tp.topic] == nil {
			c.Owned[tp.topic] = map[int]int32{}
		}
		c.Owned[tp.topic][tp.partition] = m.generation
	}
	data, _ := json.Marshal(c)
	return kafka.GroupMember{ID: m.id, Topics: topics, UserData: data}
}

func partitionsOf(topics []string, n int) []kafka.Partition {
	var ps []kafka.Partition
	for _, topic := range topics {
		for i := range n {
			ps = append(ps, kafka.Partition{Topic: topic, ID: i})
		}
	}
	return ps
}

func TestNoPartitionIsGivenAwayWhileALiveMemberHoldsIt(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		topics := []string{"a", "b"}[:1+r.IntN(2)]
		n := 1 + r.IntN(12)
		all := partitionsOf(topics, n)
		var members []*member
		names, generation := 0, int32(0)
		for step := range 30 {
			if settled := step >= 20; !settled { // membership changes, then calm
				switch {
				case len(members) == 0 || r.IntN(3) == 0:
					names++
					members = append(members, &member{id: fmt.Sprint("m", names), owned: map[topicPartition]bool{}})
				case r.IntN(4) == 0: // a crash: its claims are gone with it
					members = append(members[:0:0], members[1:]...)
				}
				if len(members) == 0 {
					continue
				}
			}
			generation++
			var joined []kafka.GroupMember
			holder := map[topicPartition]string{}
			for _, m := range members {
				joined = append(joined, m.join(topics))
				for tp := range m.owned {
					holder[tp] = m.id
				}
			}
			assignment := (&balancer{}).AssignGroups(joined, all)
			given := map[topicPartition]string{}
			for id, byTopic := range assignment {
				for topic, ps := range byTopic {
					for _, p := range ps {
						tp := topicPartition{topic, p}
						if other, twice := given[tp]; twice {
							t.Fatalf("seed %d: %v given to %s and %s", seed, tp, other, id)
						}
						if h, held := holder[tp]; held && h != id {
							t.Fatalf("seed %d: %v given to %s while %s holds it", seed, tp, id, h)
						}
						given[tp] = id
					}
				}
			}
			for _, m := range members { // everybody drains what it lost, then claims what it has
				m.generation, m.owned = generation, map[topicPartition]bool{}
				for tp, id := range given {
					if id == m.id {
						m.owned[tp] = true
					}
				}
			}
			if step == 29 {
				checkEven(t, seed, topics, n, members)
			}
		}
	}
}

func checkEven(t *testing.T, seed uint64, topics []string, n int, members []*member) {
	t.Helper()
	if len(members) == 0 {
		return
	}
	for _, topic := range topics {
		total := 0
		for _, m := range members {
			count := 0
			for tp := range m.owned {
				if tp.topic == topic {
					count++
				}
			}
			total += count
			if count < n/len(members) || count > (n+len(members)-1)/len(members) {
				t.Errorf("seed %d: %s has %d of %d partitions of %s among %d members", seed, m.id, count, n, topic, len(members))
			}
		}
		if total != n {
			t.Errorf("seed %d: %d of %d partitions of %s are assigned", seed, total, n, topic)
		}
	}
}

func TestOnlyTheNecessaryPartitionsMove(t *testing.T) {
	a := &member{id: "a", generation: 1, owned: map[topicPartition]bool{}}
	for i := range 12 {
		a.owned[topicPartition{"t", i}] = true
	}
	b := &member{id: "b", owned: map[topicPartition]bool{}}
	topics := []string{"t"}
	got := (&balancer{}).AssignGroups([]kafka.GroupMember{a.join(topics), b.join(topics)}, partitionsOf(topics, 12))
	if len(got["a"]["t"]) != 6 || len(got["b"]["t"]) != 0 {
		t.Errorf("first step: a keeps %d, b gets %d; want 6 and 0", len(got["a"]["t"]), len(got["b"]["t"]))
	}
}

func TestNewestGenerationWinsADisputedClaim(t *testing.T) {
	tp := topicPartition{"t", 0}
	old := &member{id: "a", generation: 3, owned: map[topicPartition]bool{tp: true}}
	now := &member{id: "b", generation: 7, owned: map[topicPartition]bool{tp: true}}
	got := (&balancer{}).AssignGroups([]kafka.GroupMember{old.join([]string{"t"}), now.join([]string{"t"})}, partitionsOf([]string{"t"}, 1))
	if len(got["b"]["t"]) != 1 {
		t.Errorf("the newest claim lost: %v", got)
	}
}

func TestMembersOfAnotherVersionAreAssignedPartitionsToo(t *testing.T) {
	members := []kafka.GroupMember{{ID: "a", Topics: []string{"t"}, UserData: []byte("garbage")}, {ID: "b", Topics: []string{"t"}}}
	got := (&balancer{}).AssignGroups(members, partitionsOf([]string{"t"}, 4))
	if len(got["a"]["t"]) != 2 || len(got["b"]["t"]) != 2 {
		t.Errorf("got %v", got)
	}
}
