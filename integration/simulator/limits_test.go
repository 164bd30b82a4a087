package simulator

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// burst makes calls at one instant and counts those that were let through.
func burst(t *testing.T, s *Simulator, sub string, calls int) int {
	t.Helper()
	passed := 0
	for n := range calls {
		w := call(t, s, messagePath(sub, umid(n)))
		if w.Code == 200 {
			passed++
			continue
		}
		require.Equal(t, 429, w.Code)
		require.Equal(t, "1", w.Header().Get("Retry-After"))
		require.Regexp(t, "^"+errorBody("429", "Too Many Requests", longTS)+"$", w.Body.String())
	}
	return passed
}

func TestPublishedLimitsHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, Options{Limits: PublishedLimits(), MaxCalls: 1})
		require.Equal(t, 1800, burst(t, s, "one", 1900), "1,800/s per sub-account")
		// The 100 refused ones came in through the 3,000/s in all as well.
		require.Equal(t, 1100, burst(t, s, "two", 1900), "3,000/s in all")
		advance(time.Second - 1)
		require.Zero(t, burst(t, s, "one", 1), "any window of a second counts, not the clock's")
		advance(1)
		require.Equal(t, 1800, burst(t, s, "one", 1900))
		require.Equal(t, int64(100+800+1+100), s.Summary().Faults["limit"])
	})
}

func TestAWindowRollsWithTheCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, Options{Limits: Limits{PerSubAccount: 10}})
		passed := 0
		for range 100 { // 50/s for two seconds
			passed += burst(t, s, "one", 1)
			advance(20 * time.Millisecond)
		}
		require.Equal(t, 20, passed)
	})
}

func TestLimitsCanBeOffSlackOrASubAccountsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, 5000, burst(t, newSim(t, Options{}), "one", 5000))
		require.Equal(t, 110, burst(t, newSim(t, Options{Limits: Limits{PerSubAccount: 100, Slack: 0.1}}), "one", 200))
		own := newSim(t, Options{Limits: Limits{PerSubAccount: 100}, Scenario: scenario(t, "subAccounts: {slow: {limit: 5}}")})
		require.Equal(t, 5, burst(t, own, "slow", 200))
		require.Equal(t, 100, burst(t, own, "quick", 200))
	})
}

func TestACallOverTheLimitCancelsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, Options{Limits: Limits{PerSubAccount: 1}})
		burst(t, s, "one", 3)
		require.Equal(t, int64(1), s.Summary().Cancelled)
		require.Len(t, s.Messages(), 1)
	})
}

func TestAWindowKeepsOnlyTheLastSecond(t *testing.T) {
	w := newWindow(1000, 0)
	now := time.Now()
	for range 100_000 {
		require.True(t, w.allow(now))
		now = now.Add(time.Millisecond)
	}
	require.LessOrEqual(t, cap(w.passed), 4000)
}
