package worker

import "time"

// Verdict says what to do after one attempt. It is made from the answer by a
// pure function, see package api.
type Verdict struct {
	Status     Status        // how the request ended; empty when Retry
	Retry      bool          // worth another attempt
	Count      *int          // cancelledCount of a 200
	Err        *Error        // what went wrong, if anything did
	Open       bool          // the call may have taken effect without its answer reaching us
	RetryAfter time.Duration // pause that the API asked for; 0 = none. Not capped yet
	Hold       bool          // the error concerns every message of the key, not this one alone
	NoCall     bool          // nothing was sent: no key, no id that fits a path, or, with Retry, called off
}
