package admission

import "time"

// What retries may cost, whatever happens: a tenth of the first attempts, and
// always 10 a second.
const (
	retryShare       = 0.1
	retriesPerSecond = 10
	mostEarned       = 10
	mostGranted      = 1
)

// budget lets retries go out. Each is paid from both parts as far as they reach,
// so that the larger of the two allowances holds and not their sum.
type budget struct {
	earned  float64 // by first attempts
	granted float64 // by time
	at      time.Time
}

func (b *budget) refill(now time.Time) {
	if !b.at.IsZero() {
		b.granted += retriesPerSecond * now.Sub(b.at).Seconds()
	} else {
		b.granted = mostGranted
	}
	b.granted, b.at = min(b.granted, mostGranted), now
}

// wait is how long the next retry must wait if no first attempt earns it before.
func (b *budget) wait(now time.Time) time.Duration {
	b.refill(now)
	if b.earned >= 1 || b.granted >= 1-1e-9 {
		return 0
	}
	return time.Duration((1-b.granted)/retriesPerSecond*float64(time.Second)) + 1
}

// sent notes an attempt that goes out.
func (b *budget) sent(retry bool) {
	if !retry {
		b.earned = min(b.earned+retryShare, mostEarned)
		return
	}
	b.earned, b.granted = max(b.earned-1, 0), max(b.granted-1, 0)
}

// refund takes an attempt back that was never made.
func (b *budget) refund(retry bool) {
	if !retry {
		b.earned = max(b.earned-retryShare, 0)
		return
	}
	b.granted = min(b.granted+1, mostGranted)
}
