package api

import (
	"testing"
	"time"
)

// verdicts are the answers that calls mostly get, each with the allocations that
// judging it may make. The JSON decoder keeps its state in a pool, which the race
// detector empties at random: that is the room they have.
var verdicts = []struct {
	name    string
	most    float64
	attempt Attempt
}{
	{"200", 6, Attempt{HTTPStatus: 200, Body: []byte(`{"cancelledCount":1}`)}},
	{"404", 20, Attempt{HTTPStatus: 404, Body: []byte(`{"code":1300,"message":"Message not found.","errorId":"db9dced4-3534-4d86-9d18-6b448af0d621","timestamp":"2018-07-02T09:42:38.8988997+00:00"}`)}},
	{"503", 12, Attempt{HTTPStatus: 503, Body: []byte("upstream"), RetryAfter: "1"}},
}

func TestAVerdictMakesFewAllocations(t *testing.T) {
	for _, v := range verdicts {
		v.attempt.Complete, v.attempt.Written, v.attempt.Answered, v.attempt.At = true, true, true, time.Now()
		if got := testing.AllocsPerRun(1000, func() { Judge(v.attempt) }); got > v.most {
			t.Errorf("%s: %v allocations, want at most %v", v.name, got, v.most)
		}
	}
}

func BenchmarkJudge(b *testing.B) {
	for _, v := range verdicts {
		v.attempt.Complete = true
		b.Run(v.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Judge(v.attempt)
			}
		})
	}
}
