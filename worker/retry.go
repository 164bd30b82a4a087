package worker

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// RetryPolicy limits the attempts for one request.
type RetryPolicy struct {
	Initial     time.Duration // ceiling of the first delay
	MaxInterval time.Duration // ceiling of every later one
	MaxElapsed  time.Duration // from the first attempt, pauses not counted; 0 = no limit
	MaxAttempts int           // attempts that the API did not ask us to repeat; 0 = no limit
}

// retries is the retry state of one request in hand.
type retries struct {
	policy  RetryPolicy
	ceiling *backoff.ExponentialBackOff
	start   time.Time     // zero until the clock runs
	paused  time.Duration // time that is not charged to the request
	charged int           // attempts that count
}

func (p RetryPolicy) begin(start time.Time) *retries {
	ceiling := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(p.Initial),
		backoff.WithMaxInterval(p.MaxInterval),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0), // the jitter is full, see next
		backoff.WithMaxElapsedTime(0),      // the default of 15 min would end it behind our back; next has the limit
	)
	return &retries{policy: p, ceiling: ceiling, start: start}
}

// nearDeadline is how much of the time that is left before the deadline a delay
// takes at most, so that the last minute of a request sees a dozen attempts and
// more, and not two.
const nearDeadline = 4

// next returns the delay before another attempt, or false when the request has
// used up what the policy allows. Full jitter: uniform between 0 and a ceiling
// that doubles, which spreads retries best when many fail at once. Near the
// deadline, if there is one, the ceiling sinks, down to a tenth of the first.
func (r *retries) next(now, deadline time.Time) (time.Duration, bool) {
	r.charged++
	if r.policy.MaxAttempts > 0 && r.charged >= r.policy.MaxAttempts {
		return 0, false
	}
	ceiling := r.ceiling.NextBackOff()
	if !deadline.IsZero() {
		ceiling = min(ceiling, max(deadline.Sub(now)/nearDeadline, r.policy.Initial/10))
	}
	delay := rand.N(ceiling + 1)
	if r.policy.MaxElapsed > 0 && now.Sub(r.start)-r.paused+delay > r.policy.MaxElapsed {
		return 0, false
	}
	return delay, true
}
