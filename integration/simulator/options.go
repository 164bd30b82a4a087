package simulator

import (
	"errors"
	"fmt"
)

// Options is what a Simulator is made of. The zero value accepts any key, has
// no limits and no faults, and takes every well-formed UUID for a scheduled
// message of any sub-account.
type Options struct {
	Keys     []Key     // keys that are accepted; none = any key that is not empty
	Limits   Limits    // calls per second; see PublishedLimits
	Faults   Faults    // from the start; a scenario's faults apply only where this is zero
	Scenario *Scenario // declared messages, batches and sub-accounts; may be nil

	// RepeatNotFound answers a repeated DELETE of a message with 404 instead of
	// 200 and 0. 8x8 documents neither.
	RepeatNotFound bool

	BatchSize int // messages of a batch that declares no size; 0 = 2 to 10,000, fixed by the id
	MaxCalls  int // calls that the ledger keeps; 0 = all. Totals count every call
}

// MaxBatch is how many messages a batch of the API holds at most.
const MaxBatch = 10_000

func (o *Options) validate() error {
	var errs []error
	for i, k := range o.Keys {
		if k.Value == "" {
			errs = append(errs, fmt.Errorf("key %d is empty", i+1))
		}
	}
	errs = append(errs, o.Limits.validate())
	if err := o.Faults.validate(); err != nil {
		errs = append(errs, fmt.Errorf("faults: %w", err))
	}
	if o.Scenario != nil {
		if err := o.Scenario.validate(); err != nil {
			errs = append(errs, fmt.Errorf("scenario: %w", err))
		}
	}
	if o.BatchSize < 0 || o.BatchSize > MaxBatch {
		errs = append(errs, fmt.Errorf("batch size is %d, must be 0 to %d", o.BatchSize, MaxBatch))
	}
	if o.MaxCalls < 0 {
		errs = append(errs, fmt.Errorf("max calls is %d, must not be negative", o.MaxCalls))
	}
	return errors.Join(errs...)
}

// startFaults are the faults that are in force at the start and after a Reset.
func (o *Options) startFaults() Faults {
	if o.Faults.isZero() && o.Scenario != nil && o.Scenario.Faults != nil {
		return *o.Scenario.Faults
	}
	return o.Faults
}
