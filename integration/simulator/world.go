package simulator

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// world is everything that a Reset throws away. A call stays in the world it
// began in.
type world struct {
	keys     atomic.Pointer[keyring]
	hazards  atomic.Pointer[hazards]
	limits   Limits
	total    *window
	subs     sync.Map // sub-account id to *subAccount; only those with a rule or a limit
	messages *messages
	ledger   *ledger
}

// subAccount is what is known of one sub-account. It is replaced, not changed.
type subAccount struct {
	rule   SubAccountRule
	window *window
}

// newWorld needs valid options.
func newWorld(o *Options) (*world, error) {
	w := &world{
		limits:   o.Limits,
		total:    newWindow(o.Limits.Total, o.Limits.Slack),
		messages: newMessages(o.BatchSize, o.RepeatNotFound),
		ledger:   newLedger(o.MaxCalls),
	}
	w.setKeys(o.Keys)
	if o.Scenario != nil {
		if err := w.declare(o.Scenario); err != nil {
			return nil, err
		}
	}
	if err := w.setFaults(o.startFaults()); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *world) setKeys(keys []Key) {
	ring := newKeyring(keys)
	w.keys.Store(&ring)
}

func (w *world) setFaults(f Faults) error {
	h, err := f.compile()
	if err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	w.hazards.Store(h)
	return nil
}

// declare adds what a valid scenario names and replaces what was declared of it
// before.
func (w *world) declare(s *Scenario) error {
	if s.Faults != nil {
		if err := w.setFaults(*s.Faults); err != nil {
			return err
		}
	}
	if s.DefaultState != "" {
		w.messages.setDefaultState(s.DefaultState)
	}
	for id, rule := range s.SubAccounts {
		w.subs.Store(id, w.newSubAccount(rule))
	}
	for id, rule := range s.Messages {
		w.messages.declare(newMessageKey(id, false), rule)
	}
	for id, rule := range s.Batches {
		w.messages.declare(newMessageKey(id, true), rule)
	}
	return nil
}

func (w *world) newSubAccount(rule SubAccountRule) *subAccount {
	limit := rule.Limit
	if limit == 0 {
		limit = w.limits.PerSubAccount
	}
	return &subAccount{rule: rule, window: newWindow(limit, w.limits.Slack)}
}

// subAccount finds a sub-account, or makes one up: the API is taken to know
// every sub-account that is not declared foreign.
func (w *world) subAccount(id string) *subAccount {
	if known, ok := w.subs.Load(id); ok {
		return known.(*subAccount)
	}
	fresh := w.newSubAccount(SubAccountRule{})
	if fresh.window == nil {
		return fresh // nothing to remember
	}
	known, _ := w.subs.LoadOrStore(id, fresh)
	return known.(*subAccount)
}
