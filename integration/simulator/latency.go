package simulator

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"
)

// Latency is how long the API takes to answer: always Fixed, or evenly between
// Min and Max, or lognormal with the given Median and P99. As text: "5ms",
// "5ms..20ms" or "median=5ms,p99=80ms".
type Latency struct {
	Fixed  time.Duration `yaml:"fixed,omitempty"`
	Min    time.Duration `yaml:"min,omitempty"`
	Max    time.Duration `yaml:"max,omitempty"`
	Median time.Duration `yaml:"median,omitempty"`
	P99    time.Duration `yaml:"p99,omitempty"`
}

// UnmarshalText reads the text form, which serves flags and YAML alike.
func (l *Latency) UnmarshalText(text []byte) error {
	parsed, err := parseLatency(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("latency %q: %w", text, err)
	}
	if err := parsed.validate(); err != nil {
		return fmt.Errorf("latency %q: %w", text, err)
	}
	*l = parsed
	return nil
}

func parseLatency(text string) (Latency, error) {
	var l Latency
	var err error
	switch low, high, isRange := strings.Cut(text, ".."); {
	case text == "":
	case isRange:
		err = errors.Join(setDuration(&l.Min, low), setDuration(&l.Max, high))
	case strings.Contains(text, "="):
		median, p99, _ := strings.Cut(text, ",")
		err = errors.Join(
			setDuration(&l.Median, strings.TrimPrefix(strings.TrimSpace(median), "median=")),
			setDuration(&l.P99, strings.TrimPrefix(strings.TrimSpace(p99), "p99=")))
	default:
		err = setDuration(&l.Fixed, text)
	}
	return l, err
}

func setDuration(d *time.Duration, text string) (err error) {
	*d, err = time.ParseDuration(strings.TrimSpace(text))
	return err
}

func (l Latency) validate() error {
	forms := 0
	for _, used := range []bool{l.Fixed != 0, l.Min != 0 || l.Max != 0, l.Median != 0 || l.P99 != 0} {
		if used {
			forms++
		}
	}
	switch {
	case min(l.Fixed, l.Min, l.Max, l.Median, l.P99) < 0:
		return errors.New("must not be negative")
	case forms > 1:
		return errors.New("give fixed, or min and max, or median and p99")
	case l.Min > l.Max:
		return errors.New("min must not exceed max")
	case l.Median > l.P99 || (l.P99 > 0 && l.Median == 0):
		return errors.New("needs a median above 0 and a p99 not below it")
	}
	return nil
}

// normal99 is the 99th percentile of the standard normal distribution.
const normal99 = 2.3263478740408408

func (l Latency) draw(dice *rand.Rand) time.Duration {
	switch {
	case l.Max > 0:
		return l.Min + time.Duration(dice.Int64N(int64(l.Max-l.Min)+1))
	case l.P99 > 0:
		sigma := math.Log(float64(l.P99)/float64(l.Median)) / normal99
		return time.Duration(float64(l.Median) * math.Exp(sigma*dice.NormFloat64()))
	}
	return l.Fixed
}
