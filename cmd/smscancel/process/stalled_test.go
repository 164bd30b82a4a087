package process

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fault: the broker takes connections and requests, and from one stage on never
// answers: before TLS, in SASL, at any request of the way into the group and of a
// takeover. Promise: within a minute the worker says what it waits for, it is not
// ready, and when the broker answers it goes on by itself.
func TestAWorkerThatStartsSaysWhereTheBrokerStalls(t *testing.T) {
	const silence = "does not answer|deadline exceeded"
	for _, at := range []stage{
		beforeTLS, "ApiVersions", "SASLHandshake", "SASLAuthenticate", "Metadata", "DescribeConfigs", "ListOffsets", "Fetch",
		"FindCoordinator", "JoinGroup", "SyncGroup", "OffsetFetch", "Heartbeat", "InitProducerID", "AddPartitionsToTxn", "EndTxn", everything,
	} {
		onAStage(t, string(at), func(t *testing.T, b *stalling) {
			b.stall(at)
			b.publish(t, 1)
			w := b.start(t, kafkaPassword)
			atMost := time.Minute
			if at == beforeTLS || at == "SASLHandshake" || at == "SASLAuthenticate" {
				atMost = dialTimeout + loginTimeout + 5*time.Second // nobody else waits for a connection that long
			}
			w.stuck(silence, atMost)
			w.staysStuck(silence, time.Minute)
			b.mend()
			w.works(1, 2*time.Minute)
		})
	}
}

// Fault: the broker of a worker at work stalls. Promise: the same, and what was
// published meanwhile is settled.
func TestAWorkerAtWorkSaysThatItsBrokerStalls(t *testing.T) {
	for at, reason := range map[stage]string{
		"Produce":      "outcomes are not acknowledged since .*(does not answer|deadline exceeded)",
		"Fetch":        "requests cannot be read since .*(does not answer|deadline exceeded)",
		"OffsetCommit": "commits are refused, or not answered, since .*(does not answer|deadline exceeded)",
		everything:     "(out of the group for|outcomes are not acknowledged since) .*(does not answer|deadline exceeded)",
	} {
		onAStage(t, string(at), func(t *testing.T, b *stalling) {
			b.publish(t, 1)
			w := b.start(t, kafkaPassword)
			w.works(1, time.Minute)
			b.stall(at)
			b.publish(t, 2)
			w.stuck(reason, 2*time.Minute)
			b.mend()
			w.works(2, 3*time.Minute)
		})
	}
}

// Fault: what TLS or SASL refuse. Promise: the worker names the broker and the
// reason, tries again, and works as soon as it is mended; no password is logged.
func TestAWorkerSaysWhyItCannotLogIn(t *testing.T) {
	onAStage(t, "wrong password", func(t *testing.T, b *stalling) {
		w := b.start(t, wrongPassword)
		w.stuck("SASL with broker "+brokerAddress+": .*Authentication", time.Minute)
	})
	onAStage(t, "mechanism that is not enabled", func(t *testing.T, b *stalling) {
		offer := kmsg.SASLHandshakeResponse{Version: 1, ErrorCode: kerr.UnsupportedSaslMechanism.Code, SupportedMechanisms: []string{"GSSAPI", "PLAIN"}}
		b.cluster.ControlKey(int16(kmsg.SASLHandshake), func(kmsg.Request) (kmsg.Response, error, bool) { b.cluster.KeepControl(); return &offer, nil, true })
		w := b.start(t, kafkaPassword)
		w.stuck("SASL with broker "+brokerAddress+": .*SCRAM-SHA-512, the broker offers GSSAPI, PLAIN", time.Minute)
	})
	for name, c := range map[string]struct {
		foreign bool
		change  func(*x509.Certificate)
		says    string
	}{
		"another authority": {true, func(*x509.Certificate) {}, "unknown authority"},
		"expired":           {false, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, "expired"},
		"not yet valid":     {false, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }, "not yet valid"},
		"another host":      {false, func(c *x509.Certificate) { c.DNSNames = []string{"elsewhere"} }, "localhost"},
	} {
		onAStage(t, name, func(t *testing.T, b *stalling) {
			issuer, shown := b.authority, template()
			if c.change(shown); c.foreign {
				issuer = newAuthority(t)
			}
			b.show(issuer.issue(shown))
			w := b.start(t, kafkaPassword)
			w.stuck("TLS with broker "+brokerAddress+": .*"+c.says, time.Minute)
			b.show(b.authority.issue(template()))
			b.publish(t, 1)
			w.works(1, time.Minute)
		})
	}
}
