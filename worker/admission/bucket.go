package admission

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// burstShare is how much of a second's rate a bucket holds. A window of one
// second sees at most rate and burst together: 1.05 times the limit, which
// leaves as much for the jitter between admission and the wire under the
// promised 1.1. And a timer may be 50 ms late before a token is lost.
const burstShare = 20

// bucket is a token bucket. A nil bucket has no limit.
type bucket struct{ limiter *rate.Limiter }

func newBucket(perSecond float64) *bucket {
	if perSecond == 0 {
		return nil
	}
	return &bucket{rate.NewLimiter(rate.Limit(perSecond), burst(perSecond))}
}

func burst(perSecond float64) int {
	return int(max(1, min(perSecond/burstShare, math.MaxInt32)))
}

// take takes a token, or returns how long it takes until there is one. The
// reservation can be cancelled at the same now only.
func (b *bucket) take(now time.Time) (*rate.Reservation, time.Duration) {
	if b == nil {
		return unlimited, 0
	}
	r := b.limiter.ReserveN(now, 1)
	d := r.DelayFrom(now)
	if d > 0 {
		r.CancelAt(now)
	}
	return r, d
}

// unlimited is a reservation whose cancellation does nothing.
var unlimited = rate.NewLimiter(rate.Inf, 0).Reserve()

// refund gives back a token whose call was never made. A reservation cannot be
// cancelled once its time has passed; taking -1 does it, and the burst still caps.
func (b *bucket) refund(now time.Time) {
	if b != nil {
		b.limiter.AllowN(now, -1)
	}
}

// fullAt is when the bucket will be as good as new.
func (b *bucket) fullAt(now time.Time) time.Time {
	if b == nil {
		return now
	}
	missing := float64(b.limiter.Burst()) - b.limiter.TokensAt(now)
	if missing <= 0 {
		return now
	}
	seconds := min(missing/float64(b.limiter.Limit()), math.MaxInt32)
	return now.Add(time.Duration(math.Ceil(seconds * float64(time.Second))))
}

// withRate returns the bucket at another rate, with the tokens it has.
func (b *bucket) withRate(now time.Time, perSecond float64) *bucket {
	if b == nil || perSecond == 0 {
		return newBucket(perSecond)
	}
	b.limiter.SetLimitAt(now, rate.Limit(perSecond))
	b.limiter.SetBurstAt(now, burst(perSecond))
	return b
}

// rates are the limits in force.
type rates struct {
	perSubAccount, total float64
	overrides            map[string]float64
}

func newRates(perSubAccount, total float64, overrides map[string]float64) rates {
	r := rates{perSubAccount: limit(perSubAccount), total: limit(total), overrides: make(map[string]float64, len(overrides))}
	for id, perSecond := range overrides {
		r.overrides[id] = limit(perSecond)
	}
	return r
}

// of is the rate of a sub-account.
func (r *rates) of(id string) float64 {
	if perSecond, ok := r.overrides[id]; ok {
		return perSecond
	}
	return r.perSubAccount
}

// limit takes what is no positive number for no limit.
func limit(perSecond float64) float64 {
	if perSecond > 0 && !math.IsInf(perSecond, 1) {
		return perSecond
	}
	return 0
}
