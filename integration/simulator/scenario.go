package simulator

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// State is what has become of a message or batch.
type State string

const (
	Scheduled State = "scheduled" // waits for its time: can be cancelled
	Cancelled State = "cancelled"
	Sent      State = "sent"
	Unknown   State = "unknown" // the API has no such message
)

// Scenario declares what the API knows and how it treats it. Ids are compared
// in any case.
type Scenario struct {
	DefaultState State                     `yaml:"defaultState,omitempty"` // of ids not declared; default scheduled
	Messages     map[string]MessageRule    `yaml:"messages,omitempty"`     // by UMID
	Batches      map[string]MessageRule    `yaml:"batches,omitempty"`      // by batch id
	SubAccounts  map[string]SubAccountRule `yaml:"subAccounts,omitempty"`  // by sub-account id
	Faults       *Faults                   `yaml:"faults,omitempty"`
}

// MessageRule declares one message or batch.
type MessageRule struct {
	State       State     `yaml:"state,omitempty"`       // default: the scenario's default state
	ScheduledAt time.Time `yaml:"scheduledAt,omitempty"` // from then on a scheduled message is sent; zero = never
	SubAccount  string    `yaml:"subAccount,omitempty"`  // unknown to every other one; empty = of any
	Size        int       `yaml:"size,omitempty"`        // messages of a batch; 0 = default
	Answers     []Answer  `yaml:"answers,omitempty"`     // one per call, before the normal behaviour
}

// SubAccountRule declares one sub-account. Its answer treats every call for it,
// except where a message has an answer of its own.
type SubAccountRule struct {
	Foreign bool `yaml:"foreign,omitempty"` // of another account: 401 with code 1001
	Limit   int  `yaml:"limit,omitempty"`   // calls per second; 0 = Limits.PerSubAccount
	Answer  `yaml:",inline"`
}

// LoadScenario reads a scenario file in YAML (or JSON, which is YAML too).
func LoadScenario(path string) (*Scenario, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read scenario: %w", err)
	}
	defer func() { _ = f.Close() }()
	scenario, err := ParseScenario(f)
	if err != nil {
		return nil, fmt.Errorf("read scenario %s: %w", path, err)
	}
	return scenario, nil
}

// ParseScenario reads and checks a scenario. A key it does not know is an error.
func ParseScenario(r io.Reader) (*Scenario, error) {
	var scenario Scenario
	if err := decodeYAML(r, &scenario); err != nil {
		return nil, err
	}
	if err := scenario.validate(); err != nil {
		return nil, err
	}
	return &scenario, nil
}

// ParseFaults reads and checks faults in YAML or JSON.
func ParseFaults(r io.Reader) (Faults, error) {
	var faults Faults
	if err := decodeYAML(r, &faults); err != nil {
		return Faults{}, err
	}
	return faults, faults.validate()
}

// decodeYAML decodes the one document of r. An empty one changes nothing.
func decodeYAML(r io.Reader, v any) error {
	decoder := yaml.NewDecoder(r)
	decoder.KnownFields(true)
	if err := decoder.Decode(v); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one YAML document")
	}
	return nil
}

func (s *Scenario) validate() error {
	errs := []error{s.DefaultState.validate()}
	errs = append(errs, validateRules("message", s.Messages)...)
	errs = append(errs, validateRules("batch", s.Batches)...)
	for _, id := range slices.Sorted(maps.Keys(s.SubAccounts)) {
		rule := s.SubAccounts[id]
		if err := rule.validate(); err != nil {
			errs = append(errs, fmt.Errorf("sub-account %s: %w", id, err))
		}
	}
	if s.Faults != nil {
		if err := s.Faults.validate(); err != nil {
			errs = append(errs, fmt.Errorf("faults: %w", err))
		}
	}
	return errors.Join(errs...)
}

func validateRules(what string, rules map[string]MessageRule) []error {
	var errs []error
	seen := make(map[string]bool, len(rules))
	for _, id := range slices.Sorted(maps.Keys(rules)) {
		if lower := strings.ToLower(id); seen[lower] {
			errs = append(errs, fmt.Errorf("%s %s stands twice, in different case", what, id))
		} else {
			seen[lower] = true
		}
		rule := rules[id]
		if err := rule.validate(); err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", what, id, err))
		}
	}
	return errs
}

func (m *MessageRule) validate() error {
	errs := []error{m.State.validate()}
	if m.Size < 0 || m.Size > MaxBatch {
		errs = append(errs, fmt.Errorf("size is %d, must be 0 to %d", m.Size, MaxBatch))
	}
	for i := range m.Answers {
		if err := m.Answers[i].validate(); err != nil {
			errs = append(errs, fmt.Errorf("answer %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

func (s *SubAccountRule) validate() error {
	if s.Limit < 0 {
		return fmt.Errorf("limit is %d, must not be negative", s.Limit)
	}
	if s.Repeat != 0 {
		return errors.New("repeat is for the answers of a message")
	}
	return s.Answer.validate()
}

func (s State) validate() error {
	switch s {
	case "", Scheduled, Cancelled, Sent, Unknown:
		return nil
	}
	return fmt.Errorf("state is %q, must be scheduled, cancelled, sent or unknown", s)
}
