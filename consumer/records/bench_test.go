package records

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/segmentio/kafka-go"
)

// ledgerPage is a page of n outcome-like records: 450-byte values, a key and
// some headers, in batches of a size.
func ledgerPage(t testing.TB, n, perBatch int) []byte {
	value := bytes.Repeat([]byte("v"), 450)
	headers := []kafka.Header{
		{Key: "smscancel-ledger", Value: []byte("1 12 sms.cancel.requests 3 123456 1700000000000 deadbeef 1 m account")},
		{Key: "content-type", Value: []byte("application/json")},
		{Key: "ce_id", Value: []byte("11111111-2222-3333-4444-555555555555")},
		{Key: "ce_type", Value: []byte("com.8x8.sms.cancel.outcome.v1")},
	}
	var raw []byte
	for base := 0; base < n; base += perBatch {
		b := batchOf{base: int64(base), producerID: 1}
		for i := range perBatch {
			b.items = append(b.items, item{delta: int64(i), key: []byte("11111111-2222-3333-4444-555555555555"), value: value, headers: headers})
		}
		raw = append(raw, b.encode(t)...)
	}
	return raw
}

// drain reads a page as a replay does.
func drain(p *Page) (records int) {
	for b, err := range p.Batches() {
		if err != nil {
			panic(err)
		}
		for rec, err := range b.Records() {
			if err != nil {
				panic(err)
			}
			if _, ok := rec.Headers.Get("smscancel-ledger"); ok {
				records++
			}
		}
	}
	return records
}

// BenchmarkDecode reports records per second.
func BenchmarkDecode(b *testing.B) {
	const n = 10_000
	for _, perBatch := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("batch=%d", perBatch), func(b *testing.B) {
			raw := ledgerPage(b, n, perBatch)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if drain(pageOf(raw, 0)) != n {
					b.Fatal("records are missing")
				}
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func TestReadingAllocatesPerPageAndNotPerRecord(t *testing.T) {
	const n, most = 2000, 8
	for _, perBatch := range []int{1, 1000} {
		raw := ledgerPage(t, n, perBatch)
		if got := testing.AllocsPerRun(5, func() { drain(pageOf(raw, 0)) }); got > most {
			t.Errorf("by batch, %d a batch: %.0f allocations for %d records, want at most %d", perBatch, got, n, most)
		}
		if got := testing.AllocsPerRun(5, func() {
			for rec, err := range pageOf(raw, 0).Records() {
				if _, ok := rec.Headers.Get("ce_type"); !ok || err != nil {
					t.Error("a record is missing")
				}
			}
		}); got > most {
			t.Errorf("by record, %d a batch: %.0f allocations for %d records, want at most %d", perBatch, got, n, most)
		}
	}
}
