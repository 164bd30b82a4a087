package consumer

import (
	"strings"
	"testing"
)

func TestNoCallBeyondADurableLease(t *testing.T) {
	l := newLease(-1)
	if l.covers(0) {
		t.Error("a call may start before any lease is durable")
	}
	if !l.want(10) || l.want(11) {
		t.Error("the first record must ask for a lease, the next one is within it")
	}
	if l.covers(10) {
		t.Error("an asked lease is not a durable one")
	}
	_, own := l.renewal()
	l.durable(own)
	if !l.covers(10) || !l.covers(10+leaseStep) || l.covers(11+leaseStep) {
		t.Error("the lease covers one step from the record that asked for it")
	}
	if !l.want(11 + leaseStep/2) {
		t.Error("the lease must be renewed before it runs out")
	}
}

func TestAnInheritedLeaseAllowsNoCall(t *testing.T) {
	l := newLease(leaseUnknown)
	lease, own := l.renewal()
	if lease != leaseUnknown {
		t.Errorf("a lease below the inherited one would be committed: %d", lease)
	}
	l.durable(own)
	if l.covers(0) {
		t.Error("a call may start that this session has not leased")
	}
	l.want(3)
	l.settle(9)
	if lease, own = l.renewal(); lease != 3+leaseStep || own != 3+leaseStep {
		t.Errorf("lease %d, own %d after the inherited one was settled", lease, own)
	}
}

func TestCleanStopTrimsOnlyWhatThisSessionLeased(t *testing.T) {
	for _, c := range []struct{ inherited, called, want int64 }{
		{-1, -1, -1}, {500, -1, 500}, {-1, 70, 70}, {500, 70, 500}, {500, 700, 700},
	} {
		l := newLease(c.inherited)
		l.want(1000)
		_, own := l.renewal()
		l.durable(own)
		if c.called >= 0 {
			l.called(c.called)
		}
		if got := l.trimmed(); got != c.want {
			t.Errorf("inherited %d, called without an outcome %d: trimmed to %d, want %d", c.inherited, c.called, got, c.want)
		}
		if lease, _ := l.renewal(); lease < c.inherited {
			t.Errorf("a lease below the inherited %d would be committed", c.inherited)
		}
	}
}

func TestMetadataSurvivesARoundTripAndNothingElseIsTrusted(t *testing.T) {
	m := metadata{ClusterID: "c", Outcomes: "o", N: 3, Offset: 17, PID: 9, Epoch: 2, Last: &last{16, 5, 77}, Ledger: 40, Lease: 1016}
	text, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	if c := parseCommitted(17, text); c.meta == nil || !c.meta.writtenBy(9, 2) || !c.meta.of("c", "o") || *c.meta.Last != *m.Last || c.meta.Lease != 1016 {
		t.Errorf("came back as %+v", c.meta)
	}
	changed := func(was, is string) string {
		if !strings.Contains(text, was) {
			t.Fatalf("no %s in %s", was, text)
		}
		return strings.Replace(text, was, is, 1)
	}
	newer := text[:len(text)-1] + `,"later":{"field":1}}`
	if c := parseCommitted(17, newer); c.meta == nil {
		t.Error("a field of a later version made the metadata unreadable")
	}
	for name, c := range map[string]committed{
		"offset moved by an operator": parseCommitted(12, text),
		"no commit":                   parseCommitted(-1, ""),
		"foreign text":                parseCommitted(17, "kafka-ui"),
		"empty":                       parseCommitted(17, ""),
		"another format":              parseCommitted(17, `{"offset":17}`),
		"cut off":                     parseCommitted(17, text[:len(text)-1]),
		"two of them":                 parseCommitted(17, text+text),
		"no version":                  parseCommitted(17, changed(`"v":1`, `"v":0`)),
		"no partitions":               parseCommitted(17, changed(`"n":3`, `"n":0`)),
		"another partition count":     parseCommitted(17, changed(`"n":3`, `"n":1e99`)),
		"no producer id":              parseCommitted(17, changed(`"pid":9,`, ``)),
		"negative epoch":              parseCommitted(17, changed(`"epoch":2`, `"epoch":-1`)),
		"an epoch too large":          parseCommitted(17, changed(`"epoch":2`, `"epoch":32768`)),
		"negative ledger offset":      parseCommitted(17, changed(`"ledger":40`, `"ledger":-1`)),
		"no ledger offset":            parseCommitted(17, changed(`"ledger":40,`, ``)),
		"no lease":                    parseCommitted(17, changed(`,"lease":1016`, ``)),
		"lease null":                  parseCommitted(17, changed(`1016`, `null`)),
		"lease below none":            parseCommitted(17, changed(`1016`, `-2`)),
		"a last record not below":     parseCommitted(17, changed(`"last":{"offset":16`, `"last":{"offset":17`)),
		"a negative last record":      parseCommitted(17, changed(`"last":{"offset":16`, `"last":{"offset":-1`)),
	} {
		if c.meta != nil {
			t.Errorf("%s: metadata is trusted: %+v", name, c.meta)
		}
	}
}

func TestMetadataOfTheLongestNamesFitsABrokersLimit(t *testing.T) {
	long := make([]byte, 249)
	for i := range long {
		long[i] = 'x'
	}
	const most = 1<<63 - 1
	m := metadata{ClusterID: string(long[:64]), Outcomes: string(long), N: most, Offset: most, PID: most, Epoch: 1<<15 - 1,
		Last: &last{most - 1, most, 1<<32 - 1}, Ledger: most, Lease: most}
	if text, err := m.encode(); err != nil || len(text) > maxMetadata/2 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}
