package simulator

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEffectsAreCountedOnceUnderConcurrency(t *testing.T) {
	const clients, ids = 16, 200
	s := newSim(t, Options{BatchSize: 7})
	server := start(t, s, ServerOptions{})
	client := newClient(t)
	var reported sync.Map // per target, what the answers added up to
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for n := range ids {
				for _, path := range []string{messagePath("acme", umid(n)), batchPath("acme", umid(n))} {
					res, err := client.Do(newRequest(t, context.Background(), server.URL()+path))
					if err != nil {
						t.Error(err)
						return
					}
					var body struct{ CancelledCount int }
					if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
						t.Error(err)
					}
					_ = res.Body.Close()
					if body.CancelledCount > 0 {
						if before, twice := reported.LoadOrStore(path, body.CancelledCount); twice {
							t.Errorf("%s cancelled twice: %v and %d", path, before, body.CancelledCount)
						}
					}
				}
			}
		})
	}
	wg.Wait()

	sum := s.Summary()
	require.Equal(t, int64(clients*ids*2), sum.Calls)
	require.Equal(t, int64(ids*(1+7)), sum.Cancelled)
	require.Equal(t, map[int]int64{200: clients * ids * 2}, sum.Statuses)
	require.Zero(t, sum.InProgress)
	require.LessOrEqual(t, sum.PeakInProgress, clients)

	effects := map[int64]int{}
	for i, c := range s.Calls() {
		require.Equal(t, int64(i+1), c.Sequence)
		require.False(t, c.EndedAt.Before(c.StartedAt))
		effects[c.Sequence] = c.Effect
	}
	for _, m := range s.Messages() {
		require.Equal(t, Cancelled, m.State)
		require.Equal(t, clients, m.Calls)
		require.Equal(t, m.Cancelled, effects[m.CancelledBy], "the call that did it says so too")
		delete(effects, m.CancelledBy)
	}
	for _, effect := range effects {
		require.Zero(t, effect)
	}
}

func TestACallIsRecordedInFullAndWithoutItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, Options{Keys: []Key{{Value: "s3cr3t"}}, Faults: Faults{Latency: Latency{Fixed: time.Second}}})
		req := newRequest(t, context.Background(), batchPath("a%26b", "Batch.1")+"?x=1")
		req.Header.Set("Authorization", "Bearer s3cr3t")
		req.Header.Set("User-Agent", "smscancel/1")
		req.Header.Set("Traceparent", "00-x-y-01")
		began := time.Now()
		serve(s, req)
		calls, size := s.CallsOf("bATCH.1"), s.Batch("batch.1").Cancelled
		require.Equal(t, []Call{{
			Sequence: 1, StartedAt: began, EndedAt: began.Add(time.Second), Method: "DELETE",
			Path: batchPath("a%26b", "Batch.1"), SubAccount: "a&b", ID: "Batch.1", Batch: true,
			UserAgent: "smscancel/1", TraceParent: "00-x-y-01", Authorised: true, Status: 200,
			Effect: size, Count: &size,
		}}, calls)
		text, err := json.Marshal(calls)
		require.NoError(t, err)
		require.NotContains(t, string(text), "s3cr3t")
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", s.options.Keys, s.options.Keys, s.options.Keys), "s3cr3t")
	})
}

// What a client can have read stands in the ledger; what it cannot, does not.
func TestTheLedgerKeepsWhatAWholeAnswerSays(t *testing.T) {
	for answer, said := range map[string]bool{
		"{status: 404}": true, "{status: 403, code: 1201}": true, "{status: 200}": true,
		"{status: 404, truncated: true}": false, "{html: true}": false, "{noCount: true}": false, "{huge: true}": false,
	} {
		s := scripted(t, answer)
		body := call(t, s, messagePath("acme", umid(1))).Body.Bytes()
		var got struct {
			CancelledCount *int
			Code           int
			ErrorID        string
		}
		if said {
			require.NoError(t, json.Unmarshal(body, &got), answer)
		}
		c := s.CallsOf(umid(1))[0]
		require.Equal(t, got.CancelledCount, c.Count, answer)
		require.Equal(t, got.Code, c.Code, answer)
		require.Equal(t, got.ErrorID, c.ErrorID, answer)
	}
}

func TestABoundedLedgerKeepsTheLatestCallsAndAllTotals(t *testing.T) {
	s := newSim(t, Options{MaxCalls: 3})
	for n := range 10 {
		call(t, s, messagePath("acme", umid(n%5)))
	}
	calls := s.Calls()
	require.Len(t, calls, 3)
	require.Equal(t, int64(8), calls[0].Sequence)
	require.Equal(t, int64(10), s.Summary().Calls)
	require.Equal(t, int64(5), s.Summary().Cancelled)
	require.Empty(t, s.CallsOf(umid(0)))
	require.Len(t, s.CallsOf(umid(4)), 1)
	require.Len(t, s.world.Load().ledger.byID, 3, "what is dropped is forgotten wholly")
	require.Equal(t, 2, s.Message(umid(0)).Calls)
}

func TestTheLedgerIsPagedBySequence(t *testing.T) {
	s := newSim(t, Options{MaxCalls: 10})
	ledger := s.world.Load().ledger
	require.Empty(t, ledger.after(0, 5))
	for n := range 15 {
		call(t, s, messagePath("acme", umid(n)))
	}
	sequences := func(calls []Call) (seqs []int64) {
		for _, c := range calls {
			seqs = append(seqs, c.Sequence)
		}
		return seqs
	}
	require.Equal(t, []int64{6, 7, 8}, sequences(ledger.after(0, 3)))
	require.Equal(t, []int64{9, 10}, sequences(ledger.after(8, 2)))
	require.Equal(t, []int64{14, 15}, sequences(ledger.after(13, 5)))
	require.Empty(t, ledger.after(15, 5))
	require.Empty(t, ledger.after(99, 5))
}

func TestResetBringsBackTheStart(t *testing.T) {
	s := newSim(t, Options{
		Faults:   Faults{Rates: map[string]float64{"500": 0}, RetryAfter: "3"},
		Scenario: scenario(t, "messages: {"+umid(1)+": {answers: [{status: 503}]}}"),
	})
	require.Equal(t, 503, call(t, s, messagePath("acme", umid(1))).Code)
	require.NoError(t, s.SetFaults(Faults{Rates: map[string]float64{"500": 1}}))
	s.SetKeys(Key{Value: "none"})
	require.NoError(t, s.Declare(Scenario{DefaultState: Unknown}))

	require.NoError(t, s.Reset())
	require.Zero(t, s.Summary().Calls)
	require.Empty(t, s.Calls())
	require.Equal(t, "3", s.Faults().RetryAfter)
	require.Equal(t, 503, call(t, s, messagePath("acme", umid(1))).Code, "the script begins again")
	require.Equal(t, 200, call(t, s, messagePath("acme", umid(2))).Code)
}

func TestResetWakesThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, Options{})
		call(t, s, messagePath("acme", umid(1)))
		woken := make(chan error, 1)
		go func() {
			woken <- s.Await(t.Context(), func(sum Summary) bool { return sum.Calls == 0 })
		}()
		synctest.Wait()
		require.NoError(t, s.Reset())
		require.NoError(t, <-woken)
	})
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, newSim(t, Options{}).Await(ctx, func(Summary) bool { return false }), context.Canceled)
}
