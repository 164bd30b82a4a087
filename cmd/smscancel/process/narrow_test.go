package process

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Fault: the network carries 64 KiB/s: what is fetched at once, 8 MiB of the ledger
// or 1 MiB of requests, and a full batch of outcomes take longer than a broker may
// be silent. Promise: the worker takes a partition over all the same, settles what
// is there, and is ready.
func TestAWorkerGetsOnAtANarrowNetwork(t *testing.T) {
	const rate = 64 << 10
	onAStage(t, "64 KiB a second", func(t *testing.T, b *stalling) {
		reason := bytes.Repeat([]byte{'r'}, 256)
		small := func(from, to int) (rs []*kgo.Record) {
			for n := from; n < to; n++ {
				rs = append(rs, &kgo.Record{Topic: "requests", Key: fmt.Appendf(nil, "umid-%d", n), Value: fmt.Appendf(nil, `{"umid":"umid-%d","reason":%q}`, n, reason)})
			}
			return rs
		}
		const settled, waiting, rejected = 2000, 5000, 100
		b.write(t, small(0, settled)...)
		first := b.start(t, kafkaPassword)
		first.works(settled, time.Minute)
		first.end()
		b.workers = nil

		b.narrow(rate)
		garbage := bytes.Repeat([]byte{'x'}, 20<<10)
		for n := range rejected {
			b.write(t, &kgo.Record{Topic: "requests", Key: fmt.Appendf(nil, "key-%d", n), Value: garbage})
		}
		b.write(t, small(settled, settled+waiting)...)
		second := b.start(t, kafkaPassword)
		second.works(settled+waiting+rejected, 20*time.Minute)
	})
}
