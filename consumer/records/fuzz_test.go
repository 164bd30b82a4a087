package records

import (
	"bytes"
	"testing"
)

// FuzzPage reads whatever body a broker might send. Checksums are put right,
// as they would keep the fuzzer out of the batches.
func FuzzPage(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte, version byte) {
		if len(body) > 1<<16 {
			return
		}
		v := minVersion + int16(version%8)
		body = bytes.Clone(body)
		if res, err := parseResponse(body, v); err == nil {
			sealAll(res.part.batches) // shares the body's memory
		}
		checkResponse(t, body, v)
	})
}
