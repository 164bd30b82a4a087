package simulator

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Faults happen to any call that was let in: key, sub-account and limits were
// right, and the scenario has nothing of its own for it.
type Faults struct {
	// Rates maps a fault to its probability per call; together at most 1. A
	// fault is a status of 300 or more, or one of hang-before, hang-after,
	// reset-before, reset-after, truncated, huge, html, empty, redirect and
	// no-count. A status and huge, html, empty, redirect and no-count cancel
	// nothing, unless "-after" follows the name, as in 502-after.
	Rates map[string]float64 `yaml:"rates,omitempty"`

	RetryAfter string  `yaml:"retryAfter,omitempty"` // for 429 and 503, as in Answer
	Latency    Latency `yaml:"latency,omitempty"`    // of every call that was let in

	// Seed makes the faults repeatable: the fate of the n-th call for an id
	// follows from seed, id and n, whatever order the calls come in.
	Seed uint64 `yaml:"seed,omitempty"`
}

func (f *Faults) isZero() bool {
	return len(f.Rates) == 0 && f.RetryAfter == "" && f.Latency == Latency{} && f.Seed == 0
}

func (f *Faults) validate() error {
	_, err := f.compile()
	return err
}

// hazards is Faults made ready for drawing.
type hazards struct {
	given Faults
	steps []hazard
}

// hazard strikes where the die shows less than upTo, and no earlier one struck.
type hazard struct {
	upTo   float64
	answer Answer
}

func (f Faults) compile() (*hazards, error) {
	f.Rates = maps.Clone(f.Rates) // the caller may go on with its own
	h := &hazards{given: f}
	_, err := retryAfter(f.RetryAfter, time.Time{})
	errs := []error{err}
	sum := 0.0
	// Sorted, so that the same seed draws the same faults in every run.
	for _, name := range slices.Sorted(maps.Keys(f.Rates)) {
		rate := f.Rates[name]
		answer, err := parseFault(name)
		if err != nil {
			errs = append(errs, err)
		}
		if !(rate >= 0 && rate <= 1) {
			errs = append(errs, fmt.Errorf("rate of %s is %g, must be 0 to 1", name, rate))
		}
		if answer.Status == 429 || answer.Status == 503 {
			answer.RetryAfter = f.RetryAfter
		}
		sum += rate
		h.steps = append(h.steps, hazard{upTo: sum, answer: answer})
	}
	if sum > 1+1e-9 {
		errs = append(errs, fmt.Errorf("rates add up to %g, must be at most 1", sum))
	}
	if err := f.Latency.validate(); err != nil {
		errs = append(errs, fmt.Errorf("latency: %w", err))
	}
	return h, errors.Join(errs...)
}

// parseFault is the reverse of Answer.Name for the names that Rates allows.
func parseFault(name string) (Answer, error) {
	switch name {
	case "hang-before", "hang-after":
		return Answer{Hang: Phase(strings.TrimPrefix(name, "hang-"))}, nil
	case "reset-before", "reset-after":
		return Answer{Reset: Phase(strings.TrimPrefix(name, "reset-"))}, nil
	case "truncated":
		return Answer{Truncated: true}, nil
	}
	base, effect := strings.CutSuffix(name, "-after")
	a := Answer{Effect: effect}
	switch base {
	case "huge":
		a.Huge = true
	case "html":
		a.HTML = true
	case "empty":
		a.Empty = true
	case "redirect":
		a.Redirect = true
	case "no-count":
		a.NoCount = true
	default:
		status, err := strconv.Atoi(base)
		if err != nil || status < 300 || status > 599 {
			return a, fmt.Errorf("unknown fault %q: use a status of 300 to 599, hang-before, hang-after, reset-before, "+
				"reset-after, truncated, huge, html, empty, redirect or no-count", name)
		}
		a.Status = status
	}
	return a, nil
}

// draw decides the fate of the nth call for an id.
func (h *hazards) draw(key messageKey, nth uint32) Answer {
	if len(h.steps) == 0 && h.given.Latency == (Latency{}) {
		return Answer{}
	}
	dice := rand.New(rand.NewPCG(h.given.Seed, key.hash()+uint64(nth)<<32))
	fate := h.strike(dice.Float64())
	fate.Delay = h.given.Latency.draw(dice)
	return fate
}

func (h *hazards) strike(die float64) Answer {
	for _, s := range h.steps {
		if die < s.upTo {
			return s.answer
		}
	}
	return Answer{}
}
