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

// How a limit follows what the API says: a 429 takes it down by a factor, and
// then it comes back by a share of the configured limit in every second.
const (
	cutTo      = 0.7
	recovery   = 0.01 // per second: from a cut back to the full limit in half a minute
	leastPart  = 0.02
	growthStep = 100 * time.Millisecond // between two looks at a limit that grows

	// A 429 says what was too much, which is the rate in use and not the limit.
	// But the rate in use of a sub-account that is nearly idle says nothing.
	leastUse = 0.1
)

// bucket is a token bucket whose limit may be in force in part only. A nil
// bucket has no limit.
type bucket struct {
	limiter *rate.Limiter
	limit   float64 // per second
	part    float64 // of limit that is in force
	growth  float64 // of part, per second
	grown   time.Time
	cut     time.Time // when part was cut last
}

func newBucket(perSecond float64) *bucket {
	if perSecond == 0 {
		return nil
	}
	return &bucket{limiter: rate.NewLimiter(rate.Limit(perSecond), burst(perSecond)), limit: perSecond, part: 1}
}

// allowed is the rate in force, 0 for no limit.
func (b *bucket) allowed(now time.Time) float64 {
	if b == nil {
		return 0
	}
	b.grow(now)
	return b.limit * b.part
}

// reduced tells whether less than the limit is in force.
func (b *bucket) reduced(now time.Time) bool { return b != nil && b.allowed(now) < b.limit }

// throttle answers to a 429 of a call that was sent at a time: of those in
// flight together only the first counts. used is the rate in use.
func (b *bucket) throttle(now, sent time.Time, used float64) {
	if b == nil || sent.Before(b.cut) {
		return
	}
	b.cut = now
	b.inForce(now, cutTo*min(b.part, max(used/b.limit, leastUse)), recovery)
}

// ramp begins again with little.
func (b *bucket) ramp(now time.Time) {
	if b != nil {
		b.inForce(now, min(b.part, rampFrom), rampGrowth)
	}
}

// inForce sets what part of the limit holds, and how fast it grows.
func (b *bucket) inForce(now time.Time, part, growth float64) {
	b.part, b.growth, b.grown = min(max(part, leastPart, 1/b.limit), 1), growth, now
	b.apply(now)
}

func (b *bucket) apply(now time.Time) {
	b.limiter.SetLimitAt(now, rate.Limit(b.limit*b.part))
	b.limiter.SetBurstAt(now, burst(b.limit*b.part))
}

// grow lets the part in force grow to the whole.
func (b *bucket) grow(now time.Time) {
	if d := now.Sub(b.grown); b.part < 1 && d >= growthStep {
		b.inForce(now, b.part+b.growth*d.Seconds(), b.growth)
	}
}

func burst(perSecond float64) int {
	return int(max(1, min(perSecond/burstShare, math.MaxInt32)))
}

// take takes a token, or returns how long it takes until there is one. The
// reservation can be cancelled at the same now only.
func (b *bucket) take(now time.Time) (*rate.Reservation, time.Duration) {
	r, d := b.reserve(now)
	if d > 0 {
		r.CancelAt(now)
	}
	if b != nil && b.part < 1 {
		d = min(d, growthStep) // it may come sooner
	}
	return r, d
}

// reserve takes a token that may come later only, and says when.
func (b *bucket) reserve(now time.Time) (*rate.Reservation, time.Duration) {
	if b == nil {
		return unlimited, 0
	}
	b.grow(now)
	r := b.limiter.ReserveN(now, 1)
	return r, r.DelayFrom(now)
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
	seconds := max(missing, 0) / float64(b.limiter.Limit())
	if b.part < 1 {
		seconds = max(seconds, (1-b.part)/b.growth-now.Sub(b.grown).Seconds())
	}
	seconds = min(seconds, math.MaxInt32)
	return now.Add(time.Duration(math.Ceil(seconds * float64(time.Second))))
}

// withRate returns the bucket at another rate, with the tokens it has, and with
// the part of it that is in force.
func (b *bucket) withRate(now time.Time, perSecond float64) *bucket {
	if b == nil || perSecond == 0 {
		return newBucket(perSecond)
	}
	b.limit = perSecond
	b.apply(now)
	return b
}

// rates are the limits in force, and the share of them that is this process's.
type rates struct {
	perSubAccount, total float64
	overrides            map[string]float64
	share                float64
}

func newRates(perSubAccount, total float64, overrides map[string]float64, share float64) rates {
	r := rates{perSubAccount: limit(perSubAccount), total: limit(total), overrides: make(map[string]float64, len(overrides)), share: share}
	for id, perSecond := range overrides {
		r.overrides[id] = limit(perSecond)
	}
	return r
}

// of is the own share of a sub-account's rate.
func (r *rates) of(id string) float64 {
	if perSecond, ok := r.overrides[id]; ok {
		return r.own(perSecond)
	}
	return r.own(r.perSubAccount)
}

// own is the share of a rate. One without partitions has no work, and must not
// have a limit of 0, which would be none.
func (r *rates) own(perSecond float64) float64 {
	return perSecond * max(r.share, leastShare)
}

const leastShare = 1e-9

// limit takes what is no positive number for no limit.
func limit(perSecond float64) float64 {
	if perSecond > 0 && !math.IsInf(perSecond, 1) {
		return perSecond
	}
	return 0
}
