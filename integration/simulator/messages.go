package simulator

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Message is what the simulator remembers of one message or batch. Ids that
// were never called nor declared are not remembered.
type Message struct {
	ID          string `json:"id"` // in lower case
	Batch       bool   `json:"batch"`
	State       State  `json:"state"`
	Calls       int    `json:"calls"`                 // calls that were let in
	Cancelled   int    `json:"cancelled"`             // messages that were cancelled: 0 or 1, or a batch's size
	CancelledBy int64  `json:"cancelledBy,omitempty"` // sequence of the call that did it; 0 = none
}

// messageKey finds a message. UMIDs are unique over all sub-accounts.
type messageKey struct {
	id    string // in lower case
	batch bool
}

func newMessageKey(id string, batch bool) messageKey {
	return messageKey{id: strings.ToLower(id), batch: batch}
}

// hash is the same in every run: batch sizes and faults follow from it.
func (k messageKey) hash() uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(k.id)) // a hash never fails
	return h.Sum64()
}

// message is kept small: there may be ten million.
type message struct {
	rule        *MessageRule // nil unless declared
	state       State
	cancelledBy int64
	cancelled   uint32
	calls       uint32
	script      uint32 // index of the next answer of the rule
	played      uint32 // how often that one was given already
}

// messages is the API's memory, in shards so that calls for different ids do
// not wait for each other.
type messages struct {
	defaultState   atomic.Pointer[State]
	batchSize      int
	repeatNotFound bool
	shards         [64]messageShard
}

type messageShard struct {
	mu sync.Mutex
	m  map[messageKey]*message
}

func newMessages(batchSize int, repeatNotFound bool) *messages {
	m := &messages{batchSize: batchSize, repeatNotFound: repeatNotFound}
	for i := range m.shards {
		m.shards[i].m = make(map[messageKey]*message)
	}
	m.setDefaultState(Scheduled)
	return m
}

func (m *messages) setDefaultState(s State) { m.defaultState.Store(&s) }

// declare replaces what is known of an id.
func (m *messages) declare(key messageKey, rule MessageRule) {
	state := cmp.Or(rule.State, *m.defaultState.Load())
	shard := m.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.m[key] = &message{rule: &rule, state: state}
}

// call counts a call and gives the scripted answer that is its turn, if any.
func (m *messages) call(key messageKey) (nth uint32, scripted *Answer) {
	shard := m.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	msg := m.get(shard, key)
	msg.calls++
	return msg.calls, msg.nextAnswer()
}

func (msg *message) nextAnswer() *Answer {
	if msg.rule == nil || int(msg.script) >= len(msg.rule.Answers) {
		return nil
	}
	answer := &msg.rule.Answers[msg.script]
	msg.played++
	if int(msg.played) >= max(answer.Repeat, 1) {
		msg.script, msg.played = msg.script+1, 0
	}
	return answer
}

// cancel does what a DELETE does and tells how many messages it cancelled;
// found is false where the API answers 404.
func (m *messages) cancel(key messageKey, subAccount string, seq int64, now time.Time) (count int, found bool) {
	shard := m.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	msg := m.get(shard, key)
	state := msg.stateFor(subAccount, now)
	switch {
	case state == Scheduled:
		msg.state, msg.cancelledBy = Cancelled, seq
		msg.cancelled = uint32(m.size(key, msg.rule))
		return int(msg.cancelled), true
	case key.batch:
		return 0, true // no 404 is documented for a batch
	case state == Unknown, state == Cancelled && m.repeatNotFound:
		return 0, false
	}
	return 0, true
}

// stateFor is the state as one sub-account sees it at a time.
func (msg *message) stateFor(subAccount string, now time.Time) State {
	if msg.rule != nil && msg.rule.SubAccount != "" && msg.rule.SubAccount != subAccount {
		return Unknown
	}
	return msg.stateAt(now)
}

func (msg *message) stateAt(now time.Time) State {
	if msg.rule == nil || msg.rule.ScheduledAt.IsZero() || now.Before(msg.rule.ScheduledAt) {
		return msg.state
	}
	if msg.state == Scheduled {
		return Sent
	}
	return msg.state
}

func (m *messages) size(key messageKey, rule *MessageRule) int {
	switch {
	case !key.batch:
		return 1
	case rule != nil && rule.Size > 0:
		return rule.Size
	case m.batchSize > 0:
		return m.batchSize
	}
	return 2 + int(key.hash()%(MaxBatch-1))
}

func (m *messages) shard(key messageKey) *messageShard {
	return &m.shards[key.hash()%uint64(len(m.shards))]
}

// get needs the shard's lock.
func (m *messages) get(shard *messageShard, key messageKey) *message {
	msg, known := shard.m[key]
	if !known {
		msg = &message{state: *m.defaultState.Load()}
		shard.m[key] = msg
	}
	return msg
}

// list copies all that is remembered, ordered by id.
func (m *messages) list() []Message {
	var all []Message
	for i := range m.shards {
		all = m.shards[i].appendTo(all)
	}
	slices.SortFunc(all, func(a, b Message) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

func (s *messageShard) appendTo(all []Message) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, msg := range s.m {
		all = append(all, msg.export(key))
	}
	return all
}

// lookup tells what is remembered of an id, without remembering it.
func (m *messages) lookup(key messageKey) (Message, bool) {
	shard := m.shard(key)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	msg, known := shard.m[key]
	if !known {
		return Message{ID: key.id, Batch: key.batch, State: *m.defaultState.Load()}, false
	}
	return msg.export(key), true
}

func (msg *message) export(key messageKey) Message {
	return Message{
		ID: key.id, Batch: key.batch, State: msg.stateAt(time.Now()), Calls: int(msg.calls),
		Cancelled: int(msg.cancelled), CancelledBy: msg.cancelledBy,
	}
}
