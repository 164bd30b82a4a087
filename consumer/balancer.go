package consumer

import (
	"encoding/json"
	"slices"
	"sort"

	"github.com/segmentio/kafka-go"
)

// balancer assigns partitions stickily and moves them in two steps: a partition
// that a live member holds and must lose is given to nobody in this generation.
// Its owner drains it and rejoins without it; the next generation gives it away.
// So no call is cut by a rebalance. A dead member claims nothing, so a crash
// costs no extra step.
type balancer struct {
	claims func() claims
	saw    func(map[string][]int) // the partitions that an assignment is of; may be nil
}

// claims is what a member tells the leader at each join.
type claims struct {
	Version  int    `json:"v"`
	Outcomes string `json:"outcomes"`
	N        int    `json:"n"`
	// Owned are its partitions by topic, each with the generation that assigned
	// it last: the newest wins a disputed one.
	Owned map[string]map[int]int32 `json:"owned,omitempty"`
}

const balancerName = "smscancel-sticky"

// ProtocolName implements kafka.GroupBalancer.
func (b *balancer) ProtocolName() string { return balancerName }

// UserData implements kafka.GroupBalancer.
func (b *balancer) UserData() ([]byte, error) { return json.Marshal(b.claims()) }

// AssignGroups implements kafka.GroupBalancer.
func (b *balancer) AssignGroups(members []kafka.GroupMember, partitions []kafka.Partition) kafka.GroupMemberAssignments {
	assignments := kafka.GroupMemberAssignments{}
	for _, m := range members {
		assignments[m.ID] = map[string][]int{}
	}
	owners := ownersOf(members)
	byTopic := map[string][]int{}
	for _, p := range partitions {
		byTopic[p.Topic] = append(byTopic[p.Topic], p.ID)
	}
	if b.saw != nil {
		defer b.saw(byTopic) // sorted by then
	}
	load := map[string]int{}
	for _, topic := range sortedKeys(byTopic) {
		slices.Sort(byTopic[topic])
		assignTopic(topic, byTopic[topic], subscribers(members, topic), owners, load, assignments)
	}
	return assignments
}

// assignTopic shares one topic's partitions out evenly. load counts what each
// member has in all; it decides who gets one more where it does not come out even.
func assignTopic(topic string, partitions []int, members []string, owners map[topicPartition]string,
	load map[string]int, assignments kafka.GroupMemberAssignments) {
	if len(members) == 0 {
		return
	}
	owned := map[string][]int{}
	var free []int
	for _, p := range partitions {
		if owner, ok := owners[topicPartition{topic, p}]; ok && slices.Contains(members, owner) {
			owned[owner] = append(owned[owner], p)
		} else {
			free = append(free, p)
		}
	}
	quota := quotas(len(partitions), members, owned, load)
	for _, m := range members {
		keep := min(len(owned[m]), quota[m])
		assignments[m][topic] = append(assignments[m][topic], owned[m][:keep]...)
		quota[m] -= keep // what is left of it is for free partitions now, and for moving ones in the next generation
		load[m] += keep
	}
	for _, p := range free {
		m := neediest(members, quota)
		assignments[m][topic] = append(assignments[m][topic], p)
		quota[m]--
		load[m]++
	}
}

// quotas gives every member the floor of an even share and the remainder to
// those who hold more of the topic already, then to those with the least load.
func quotas(partitions int, members []string, owned map[string][]int, load map[string]int) map[string]int {
	order := slices.Clone(members)
	sort.SliceStable(order, func(i, j int) bool {
		a, b := order[i], order[j]
		if x, y := len(owned[a]), len(owned[b]); x != y {
			return x > y
		}
		if load[a] != load[b] {
			return load[a] < load[b]
		}
		return a < b
	})
	quota := map[string]int{}
	for i, m := range order {
		quota[m] = partitions / len(members)
		if i < partitions%len(members) {
			quota[m]++
		}
	}
	return quota
}

func neediest(members []string, quota map[string]int) string {
	best := members[0]
	for _, m := range members[1:] {
		if quota[m] > quota[best] {
			best = m
		}
	}
	return best
}

// ownersOf resolves the members' claims; the newest generation wins.
func ownersOf(members []kafka.GroupMember) map[topicPartition]string {
	owners, newest := map[topicPartition]string{}, map[topicPartition]int32{}
	for _, m := range members {
		var c claims
		if json.Unmarshal(m.UserData, &c) != nil {
			continue
		}
		for topic, partitions := range c.Owned {
			for p, generation := range partitions {
				tp := topicPartition{topic, p}
				if g, ok := newest[tp]; !ok || generation > g {
					owners[tp], newest[tp] = m.ID, generation
				}
			}
		}
	}
	return owners
}

func subscribers(members []kafka.GroupMember, topic string) []string {
	var ids []string
	for _, m := range members {
		if slices.Contains(m.Topics, topic) {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func sortedKeys(m map[string][]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
