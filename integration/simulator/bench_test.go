package simulator

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
)

// BenchmarkCall is the simulator's own share of a call.
func BenchmarkCall(b *testing.B) {
	s := newSim(b, Options{MaxCalls: 100_000, Limits: Limits{PerSubAccount: 1e9}})
	handler := s.Handler()
	var next atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := umid(int(next.Add(1)))
			req := httptest.NewRequest(http.MethodDelete, messagePath("acme", id), http.NoBody)
			req.Header.Set("Authorization", "Bearer key")
			handler.ServeHTTP(httptest.NewRecorder(), req)
		}
	})
}

// BenchmarkHTTP is a call with client and server in one process.
func BenchmarkHTTP(b *testing.B) {
	for _, secured := range []bool{false, true} {
		b.Run("tls="+strconv.FormatBool(secured), func(b *testing.B) {
			s := newSim(b, Options{MaxCalls: 1000})
			server := start(b, s, ServerOptions{TLS: secured})
			client := trusting(b, server)
			var next atomic.Int64
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					url := server.URL() + messagePath("acme", umid(int(next.Add(1))))
					res, err := client.Do(newRequest(b, context.Background(), url))
					if err != nil {
						b.Error(err)
						return
					}
					bodyOf(b, res)
				}
			})
		})
	}
}
