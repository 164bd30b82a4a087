package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"smscancel/worker"
)

// authority issues certificates for servers on loopback.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // never fails
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	root := template("authority")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, cert, key}
}

// file is the authority's certificate as --api-ca-file takes it.
func (a *authority) file() string {
	path := filepath.Join(a.t.TempDir(), "ca.pem")
	write(a.t, path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})))
	return path
}

// issue makes a certificate for 127.0.0.1 that is good but for a change.
func (a *authority) issue(change func(*x509.Certificate)) *tls.Certificate {
	a.t.Helper()
	leaf := template("server")
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	if change != nil {
		change(leaf)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secureServer answers every call with a count of 1, counts them, and shows the
// certificate that it is given at the moment.
type secureServer struct {
	*httptest.Server
	cert  atomic.Pointer[tls.Certificate]
	calls atomic.Int64
}

func newSecureServer(t *testing.T, cert *tls.Certificate, change func(*tls.Config)) *secureServer {
	t.Helper()
	s := &secureServer{}
	s.cert.Store(cert)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.calls.Add(1)
		io.WriteString(w, `{"cancelledCount":1}`)
	}))
	s.TLS = &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.cert.Load(), nil }}
	if change != nil {
		change(s.TLS)
	}
	s.Config.ErrorLog = quiet
	s.StartTLS()
	s.TLS.Certificates = nil // httptest's own; from now on ours alone
	t.Cleanup(s.Close)
	return s
}

// Fault: the API shows a certificate, or speaks a version of TLS, that is not
// good enough. Promise: kind tls, to be tried again, nothing left open, and the
// server never hears a request.
func TestWhoCannotProveToBeTheAPIHearsNoRequest(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	leaf := ca.issue(nil)
	issuer, err := x509.ParseCertificate(leaf.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	byLeaf := &authority{t, issuer, leaf.PrivateKey.(*ecdsa.PrivateKey)}
	for name, c := range map[string]struct {
		cert   *tls.Certificate
		config func(*tls.Config)
		says   string
	}{
		"another authority":          {other.issue(nil), nil, "unknown authority"},
		"expired":                    {ca.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), nil, "expired or is not yet valid"},
		"not yet valid":              {ca.issue(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), nil, "expired or is not yet valid"},
		"another host":               {ca.issue(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"sms.8x8.com"} }), nil, "127.0.0.1"},
		"another address":            {ca.issue(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 2)} }), nil, "127.0.0.1"},
		"host in the common name":    {ca.issue(func(c *x509.Certificate) { c.IPAddresses, c.Subject.CommonName = nil, "127.0.0.1" }), nil, "Common Name"},
		"for clients only":           {ca.issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), nil, "incompatible key usage"},
		"issued by one that may not": {byLeaf.issue(nil), nil, "x509"},
		"self-signed":                {selfSigned(t), nil, "unknown authority"},
		"TLS 1.2":                    {ca.issue(nil), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "protocol version"},
		"TLS 1.0":                    {ca.issue(nil), func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }, "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSecureServer(t, c.cert, c.config)
			client := newTestClient(t, Config{BaseURL: s.URL, CAFile: ca.file()})
			for range 2 { // the second try is like the first
				v := client.Cancel(t.Context(), worker.Call{Target: aMessage})
				check(t, name, v, want{kind: worker.KindTLS})
				if !strings.Contains(v.Err.Message, c.says) {
					t.Errorf("message %q does not say %q", v.Err.Message, c.says)
				}
			}
			if n := s.calls.Load(); n != 0 {
				t.Errorf("the server heard %d requests", n)
			}
		})
	}
}

func selfSigned(t *testing.T) *tls.Certificate {
	t.Helper()
	own := newAuthority(t)
	leaf := template("server")
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &own.key.PublicKey, own.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: own.key}
}

// Fault: what answers on the API's port speaks no TLS. Promise: as above, and
// not a byte of the request, above all not the key, is sent in the clear.
func TestNoRequestIsSentInTheClear(t *testing.T) {
	for name, answer := range map[string]string{
		"HTTP":           "HTTP/1.1 400 Bad Request\r\nContent-Length: 48\r\n\r\nClient sent an HTTPS request to an HTTP server..",
		"HTTP's success": httpAnswer(200, aCount),
		"SSH":            "SSH-2.0-OpenSSH_9.9\r\n",
		"an alert":       "\x15\x03\x03\x00\x02\x02\x28",
		"zeros":          strings.Repeat("\x00", 100),
		"a huge record":  "\x16\x03\x03\xff\xff" + strings.Repeat("x", 1<<16),
	} {
		heard := make(chan []byte, 1)
		url := rawServer(t, func(c net.Conn) {
			io.WriteString(c, answer)
			c.(*net.TCPConn).CloseWrite()
			all, _ := io.ReadAll(c)
			heard <- all
		})
		v := newTestClient(t, Config{BaseURL: strings.Replace(url, "http", "https", 1)}).Cancel(t.Context(), worker.Call{Target: aMessage})
		check(t, name, v, want{kind: worker.KindTLS})
		if all := string(<-heard); strings.Contains(all, testKey) || strings.Contains(all, "DELETE") {
			t.Errorf("%s: sent %q", name, all)
		}
	}
}

// Fault: while the worker runs, the API changes its certificate: to one of the
// same authority, then to one of a foreign authority, then back. Promise: the
// first works at once, the second is refused by every new connection, and the
// third heals it; a connection that stands goes on as long as it stands.
func TestACertificateIsJudgedAnewOnEachConnection(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	s := newSecureServer(t, ca.issue(nil), nil)
	client := newTestClient(t, Config{BaseURL: s.URL, CAFile: ca.file()})
	good, refused := want{status: worker.StatusCancelled}, want{kind: worker.KindTLS}
	calls := 0
	for i, step := range []struct {
		cert *tls.Certificate
		want want
	}{
		{ca.issue(nil), good}, {ca.issue(nil), good}, {other.issue(nil), refused}, {other.issue(nil), refused},
		{ca.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }), refused}, {ca.issue(nil), good},
	} {
		if step.want == good {
			calls += 2
		}
		s.cert.Store(step.cert)
		client.Close() // drops the connection that stands
		for n := range 2 {
			check(t, fmt.Sprint("certificate ", i, ", call ", n), client.Cancel(t.Context(), worker.Call{Target: aMessage}), step.want)
		}
	}
	s.cert.Store(other.issue(nil))
	check(t, "on a connection that stands", client.Cancel(t.Context(), worker.Call{Target: aMessage}), good)
	if n := int(s.calls.Load()); n != calls+1 {
		t.Errorf("the server heard %d requests, want %d", n, calls+1)
	}
}

// Fault: a server asks for a client certificate, which nobody has. It may say so
// only after the request was sent: TLS 1.3 lets the client speak first. Promise:
// kind tls; whether the request was read is not known.
func TestAServerThatWantsAClientCertificateIsATLSError(t *testing.T) {
	ca := newAuthority(t)
	s := newSecureServer(t, ca.issue(nil), func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })
	v := newTestClient(t, Config{BaseURL: s.URL, CAFile: ca.file()}).Cancel(t.Context(), worker.Call{Target: aMessage})
	check(t, "client certificate", v, want{kind: worker.KindTLS, open: v.Open})
	if n := s.calls.Load(); n != 0 {
		t.Errorf("the server heard %d requests", n)
	}
}
