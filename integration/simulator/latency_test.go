package simulator

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func latency(t *testing.T, text string) Latency {
	t.Helper()
	var l Latency
	require.NoError(t, l.UnmarshalText([]byte(text)))
	return l
}

func TestLatencyIsReadFromText(t *testing.T) {
	require.Equal(t, Latency{}, latency(t, ""))
	require.Equal(t, Latency{Fixed: 5 * time.Millisecond}, latency(t, "5ms"))
	require.Equal(t, Latency{Min: time.Millisecond, Max: time.Second}, latency(t, "1ms..1s"))
	require.Equal(t, Latency{Median: time.Millisecond, P99: time.Second}, latency(t, "median=1ms, p99=1s"))
}

// took measures calls on the bubble's clock.
func took(t *testing.T, l Latency, calls int) []time.Duration {
	s := newSim(t, Options{Faults: Faults{Latency: l}})
	times := make([]time.Duration, calls)
	for n := range times {
		began := time.Now()
		call(t, s, messagePath("acme", umid(n)))
		times[n] = time.Since(began)
	}
	slices.Sort(times)
	return times
}

func TestLatencyIsDistributedAsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fixed := took(t, latency(t, "5ms"), 10)
		require.Equal(t, 5*time.Millisecond, fixed[0])
		require.Equal(t, 5*time.Millisecond, fixed[9])

		uniform := took(t, latency(t, "10ms..20ms"), 2000)
		require.GreaterOrEqual(t, uniform[0], 10*time.Millisecond)
		require.LessOrEqual(t, uniform[1999], 20*time.Millisecond)
		require.InDelta(t, 15*time.Millisecond, uniform[1000], float64(time.Millisecond))

		lognormal := took(t, latency(t, "median=10ms,p99=100ms"), 4000)
		require.InDelta(t, 10*time.Millisecond, lognormal[2000], float64(time.Millisecond))
		require.InDelta(t, 100*time.Millisecond, lognormal[3960], float64(30*time.Millisecond))
	})
}

func TestAScriptedDelayReplacesTheLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, Options{Faults: Faults{Latency: latency(t, "5ms")}, Scenario: scenario(t,
			"messages: {"+umid(1)+": {answers: [{delay: 1h}, {status: 503}]}}")})
		for _, want := range []time.Duration{time.Hour, 5 * time.Millisecond, 5 * time.Millisecond} {
			began := time.Now()
			call(t, s, messagePath("acme", umid(1)))
			require.Equal(t, want, time.Since(began))
		}
	})
}
