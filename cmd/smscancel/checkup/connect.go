package checkup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// soon is when a certificate that ends needs to be replaced.
const soon = 14 * 24 * time.Hour

// reach looks a host up, connects to it, and closes the connection. It is false
// where that fails, which is then reported.
func (c *Checkup) reach(ctx context.Context, what, address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		c.fail(what+" DNS", fmt.Sprintf("%s: %v", address, err), "write it as HOST:PORT")
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		c.fail(what+" DNS", err.Error(), "the name is wrong, or this machine's resolver does not know it")
		return false
	}
	c.ok(what+" DNS", fmt.Sprintf("%s is %s", host, strings.Join(found, ", ")))
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		c.fail(what+" TCP", err.Error(), "nobody listens there, or a firewall or NetworkPolicy is in between")
		return false
	}
	conn.Close()
	c.ok(what+" TCP", address)
	return true
}

// handshake looks at version and certificate. other is what to do where the other
// side does not speak TLS.
func (c *Checkup) handshake(ctx context.Context, what, address string, config *tls.Config, caFlag, other string) bool {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		c.fail(what+" TLS", err.Error(), tlsRemedy(err, caFlag, other))
		return false
	}
	defer conn.Close()
	state := conn.(*tls.Conn).ConnectionState()
	certificate := state.PeerCertificates[0]
	text := fmt.Sprintf("%s, certificate of %s by %s until %s", tls.VersionName(state.Version), certificate.Subject.CommonName,
		certificate.Issuer.CommonName, certificate.NotAfter.UTC().Format(time.DateOnly))
	if time.Until(certificate.NotAfter) < soon {
		c.warn(what+" TLS", text, "the certificate ends soon: have it replaced")
		return true
	}
	c.ok(what+" TLS", text)
	return true
}

func tlsRemedy(err error, caFlag, other string) string {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &authority):
		return "give the file of the authority that issued the certificate: " + caFlag
	case errors.As(err, &name):
		return "use the name that stands in the certificate, or have it issued for this one"
	case errors.As(err, &invalid):
		return "have the certificate replaced, and compare this machine's clock"
	case errors.As(err, &record):
		return other
	case strings.Contains(err.Error(), "protocol version"):
		return "the other side speaks older versions of TLS only: is a proxy in between?"
	case strings.Contains(err.Error(), "certificate"):
		return "the other side wants a certificate of ours, or another one: --kafka-cert-file and --kafka-key-file"
	}
	return other
}
