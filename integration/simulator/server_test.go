package simulator

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// trusting is a client that trusts the server's CA and no other.
func trusting(t testing.TB, server *Server) *http.Client {
	t.Helper()
	client := newClient(t)
	if pemBytes := server.CAPEM(); pemBytes != nil {
		roots := x509.NewCertPool()
		require.True(t, roots.AppendCertsFromPEM(pemBytes))
		client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return client
}

func TestTLS13IsServedAndTLS12IsAskedToUpgrade(t *testing.T) {
	s := newSim(t, Options{})
	server := start(t, s, ServerOptions{TLS: true})
	require.Regexp(t, `^https://127\.0\.0\.1:\d+$`, server.URL())

	client := trusting(t, server)
	res, err := client.Do(newRequest(t, context.Background(), server.URL()+messagePath("acme", umid(1))))
	require.NoError(t, err)
	require.Equal(t, `{"cancelledCount":1}`, bodyOf(t, res))
	require.Equal(t, uint16(tls.VersionTLS13), res.TLS.Version)
	require.Equal(t, 1, res.ProtoMajor)

	old := trusting(t, server)
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
	res, err = old.Do(newRequest(t, context.Background(), server.URL()+messagePath("acme", umid(2))))
	require.NoError(t, err)
	require.Equal(t, 426, res.StatusCode)
	require.Equal(t, "TLS/1.3", res.Header.Get("Upgrade"))
	require.Regexp(t, "^"+errorBody("1014", `TLS 1\.3\+ is required for Singapore-bound messages\. Detected: TLSv1\.2`, longTS)+"$", bodyOf(t, res))
	require.Equal(t, Scheduled, s.Message(umid(2)).State)
}

func TestTheCertificateIsTrustedOnlyThroughItsCA(t *testing.T) {
	server := start(t, newSim(t, Options{}), ServerOptions{TLS: true, Hosts: []string{"api.test"}})
	_, err := newClient(t).Do(newRequest(t, context.Background(), server.URL()))
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, err, &unknown)

	for _, name := range []string{"localhost", "api.test", "127.0.0.1"} {
		client := trusting(t, server)
		client.Transport.(*http.Transport).TLSClientConfig.ServerName = name
		res, err := client.Do(newRequest(t, context.Background(), server.URL()))
		require.NoError(t, err)
		require.Equal(t, 404, res.StatusCode)
		bodyOf(t, res)
	}
}

func TestACertificateOfTheCallersIsServed(t *testing.T) {
	made, err := makeCertificate()
	require.NoError(t, err)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	der, err := x509.MarshalECPrivateKey(made.tls.PrivateKey.(*ecdsa.PrivateKey))
	require.NoError(t, err)
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.tls.Certificate[0]}), made.caPEM...)
	require.NoError(t, os.WriteFile(certFile, chain, 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600))

	s := newSim(t, Options{})
	server := start(t, s, ServerOptions{CertFile: certFile, KeyFile: keyFile})
	res, err := trusting(t, server).Do(newRequest(t, context.Background(), server.URL()+messagePath("acme", umid(1))))
	require.NoError(t, err)
	require.Equal(t, `{"cancelledCount":1}`, bodyOf(t, res))

	_, err = s.Start(context.Background(), ServerOptions{CertFile: certFile})
	require.ErrorContains(t, err, "both its file and its key's")
	_, err = s.Start(context.Background(), ServerOptions{CertFile: keyFile, KeyFile: certFile})
	require.Error(t, err)
}

func TestAPortThatIsTakenIsReplacedIfAskedFor(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	s := newSim(t, Options{})

	_, err = s.Start(context.Background(), ServerOptions{Addr: taken.Addr().String()})
	require.ErrorContains(t, err, "start API simulator")
	server := start(t, s, ServerOptions{Addr: taken.Addr().String(), AnyPort: true})
	require.NotEqual(t, taken.Addr().String(), server.Addr())
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	_, err = s.Start(context.Background(), ServerOptions{AdminAddr: ":0", Addr: ":" + port})
	require.Error(t, err, "and the admin's listener is given back")
}

func TestAnEmptyHostIsLoopback(t *testing.T) {
	server := start(t, newSim(t, Options{}), ServerOptions{Addr: ":0", AdminAddr: ":0"})
	for _, addr := range []string{server.Addr(), server.admin.addr()} {
		host, _, err := net.SplitHostPort(addr)
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1", host)
	}
}

func TestTheContextEndsTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	server, err := newSim(t, Options{}).Start(ctx, ServerOptions{})
	require.NoError(t, err)
	cancel()
	<-server.api.served
	server.Close()
	_, err = net.Dial("tcp", server.Addr())
	require.Error(t, err)
}

func TestClosingTheSimulatorEndsHangsOfAnyServer(t *testing.T) {
	s := scripted(t, "{hang: before}")
	server := start(t, s, ServerOptions{})
	failed := failing(t, t.Context(), server)
	awaitCalls(t, s, func(sum Summary) bool { return sum.InProgress == 1 })
	s.Close()
	s.Close()
	require.ErrorIs(t, <-failed, io.EOF)
}
