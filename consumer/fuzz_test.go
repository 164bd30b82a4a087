package consumer

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParseCommitted reads any text that accompanies any offset. What is trusted
// was written together with that offset by somebody who knew its own pid, epoch,
// ledger and lease; it says the same when it is written again.
func FuzzParseCommitted(f *testing.F) {
	f.Fuzz(func(t *testing.T, offset int64, raw string) {
		c := parseCommitted(offset, raw)
		if c.offset != offset || c.raw != raw {
			t.Fatalf("offset %d and %q became %+v", offset, raw, c)
		}
		m := c.meta
		if m == nil {
			return
		}
		for _, field := range []string{"v", "n", "offset", "pid", "epoch", "ledger", "lease"} {
			if !strings.Contains(strings.ToLower(raw), `"`+field+`"`) && !strings.Contains(raw, `\u`) {
				t.Fatalf("trusted without %s: %q", field, raw)
			}
		}
		if offset < 0 || m.Offset != offset || m.N < 1 || m.PID < 0 || m.Epoch < 0 || m.Ledger < 0 || m.Lease < -1 ||
			m.Last != nil && (m.Last.Offset < 0 || m.Last.Offset >= offset) {
			t.Fatalf("trusted %+v at offset %d", m, offset)
		}
		checkMetadata(t, *m)
	})
}

// FuzzMetadata writes metadata of any content. It is read back as it was,
// together with its own offset and no other, or it could not be trusted at all.
func FuzzMetadata(f *testing.F) {
	f.Fuzz(func(t *testing.T, cluster, outcomes string, n int, offset, pid int64, epoch int16, hasLast bool, lastOffset, timestamp int64, hash uint32, ledger, lease int64, clean bool) {
		m := metadata{ClusterID: cluster, Outcomes: outcomes, N: n, Offset: offset, PID: pid, Epoch: epoch, Ledger: ledger, Lease: lease, Clean: clean}
		if hasLast {
			m.Last = &last{lastOffset, timestamp, hash}
		}
		checkMetadata(t, m)
	})
}

func checkMetadata(t *testing.T, m metadata) {
	t.Helper()
	text, err := m.encode()
	if err != nil {
		if len(m.ClusterID)+len(m.Outcomes) < 500 {
			t.Fatalf("%+v: %v", m, err)
		}
		return
	}
	if len(text) > maxMetadata {
		t.Fatalf("%d bytes", len(text))
	}
	m.Version = metadataVersion
	read := parseCommitted(m.Offset, text).meta
	if read == nil {
		if m.Offset >= 0 && m.possible() {
			t.Fatalf("not trusted: %s", text)
		}
		return
	}
	if utf8.ValidString(m.ClusterID) && utf8.ValidString(m.Outcomes) && !reflect.DeepEqual(*read, m) {
		t.Fatalf("%+v became %+v", m, *read)
	}
	for _, other := range []int64{m.Offset + 1, m.Offset - 1, -1, 0} {
		if other != m.Offset && parseCommitted(other, text).meta != nil {
			t.Fatalf("trusted at offset %d: %s", other, text)
		}
	}
}
