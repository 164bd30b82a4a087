package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// certificateOf is a certificate and its key, in PEM.
func certificateOf(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// shownBy is the name in the client certificate that a broker sees.
func shownBy(t *testing.T, client *tls.Config) string {
	t.Helper()
	serverCert, serverKey := certificateOf(t, "broker")
	own, err := tls.X509KeyPair(serverCert, serverKey)
	require.NoError(t, err)
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	client = client.Clone()
	client.InsecureSkipVerify = true // who the broker is does not count here
	go tls.Client(near, client).Handshake()
	broker := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAnyClientCert, SessionTicketsDisabled: true})
	require.NoError(t, broker.Handshake())
	return broker.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// Fault: the client certificate is replaced while the worker runs, one file after
// the other. Promise: new connections show the new one, and the old one as long as
// the files do not fit.
func TestAClientCertificateThatIsReplacedIsShown(t *testing.T) {
	dir := t.TempDir()
	f := &KafkaFlags{KafkaTLS: true, KafkaCertFile: filepath.Join(dir, "cert.pem"), KafkaKeyFile: filepath.Join(dir, "key.pem")}
	write := func(file string, content []byte) { t.Helper(); require.NoError(t, os.WriteFile(file, content, 0o600)) }
	cert, key := certificateOf(t, "first")
	write(f.KafkaCertFile, cert)
	write(f.KafkaKeyFile, key)
	var mistakes usageError
	config := f.tls(&mistakes)
	require.Empty(t, mistakes)
	assert.Equal(t, "first", shownBy(t, config))

	cert, key = certificateOf(t, "second")
	write(f.KafkaCertFile, cert)
	assert.Equal(t, "first", shownBy(t, config), "the key does not fit")
	write(f.KafkaKeyFile, key)
	assert.Equal(t, "second", shownBy(t, config))
	require.NoError(t, os.Remove(f.KafkaCertFile))
	assert.Equal(t, "second", shownBy(t, config), "the certificate is gone")
}
