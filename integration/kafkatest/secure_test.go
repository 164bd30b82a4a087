package kafkatest

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

func TestClusterWithUsersAsksForTLSPasswordAndPermission(t *testing.T) {
	const password = `s3cret "quoted" \slash`
	c := Start(t, Options{Users: map[string]string{"alice": password, "bob": "other"}})
	c.CreateTopic("guarded", 1, nil)
	trust := x509.NewCertPool()
	if !trust.AppendCertsFromPEM(c.CA()) {
		t.Fatal("CA is no PEM certificate")
	}

	if err := writeAs(t, c, trust, plain.Mechanism{Username: "alice", Password: password}); err == nil {
		t.Error("alice may write before she is allowed to")
	}
	c.Allow("alice", kafka.ACLEntry{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: "guarded", Operation: kafka.ACLOperationTypeAll,
	})
	for name, login := range mechanisms(t, "alice", password) {
		if err := writeAs(t, c, trust, login); err != nil {
			t.Errorf("alice by %s: %v", name, err)
		}
	}
	for name, login := range mechanisms(t, "alice", "wrong") {
		if err := writeAs(t, c, trust, login); err == nil {
			t.Errorf("a wrong password is taken by %s", name)
		}
	}
	if err := writeAs(t, c, trust, plain.Mechanism{Username: "bob", Password: "other"}); err == nil {
		t.Error("bob may write by what alice was allowed")
	}
	if err := writeAs(t, c, x509.NewCertPool(), plain.Mechanism{Username: "alice", Password: password}); err == nil {
		t.Error("the certificate passes without the CA")
	}
	produce(t, c.Admin(), "guarded", "by the tests' own listener")
}

func TestClusterWithUsersCanAskForAClientCertificate(t *testing.T) {
	c := Start(t, Options{Users: map[string]string{"alice": "pw"}, RequireClientCert: true})
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(c.CA())
	if err := handshake(t, c, &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}); err == nil {
		t.Error("the broker serves a client without a certificate")
	}
	pair, err := tls.X509KeyPair(c.ClientCert())
	if err != nil {
		t.Fatal(err)
	}
	if err := handshake(t, c, &tls.Config{RootCAs: trust, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}); err != nil {
		t.Errorf("with the certificate: %v", err)
	}
}

func mechanisms(t *testing.T, user, password string) map[string]sasl.Mechanism {
	t.Helper()
	byName := map[string]sasl.Mechanism{"PLAIN": plain.Mechanism{Username: user, Password: password}}
	for _, algorithm := range []scram.Algorithm{scram.SHA256, scram.SHA512} {
		mechanism, err := scram.Mechanism(algorithm, user, password)
		if err != nil {
			t.Fatal(err)
		}
		byName[algorithm.Name()] = mechanism
	}
	return byName
}

// writeAs produces one record with a single try.
func writeAs(t *testing.T, c *Cluster, trust *x509.CertPool, login sasl.Mechanism) error {
	t.Helper()
	transport := &kafka.Transport{TLS: &tls.Config{RootCAs: trust, MinVersion: tls.VersionTLS12}, SASL: login}
	defer transport.CloseIdleConnections()
	user := kafka.Client{Addr: kafka.TCP(c.Bootstrap()...), Transport: transport}
	response, err := user.Produce(within(t), &kafka.ProduceRequest{
		Topic: "guarded", RequiredAcks: kafka.RequireAll,
		Records: kafka.NewRecordReader(kafka.Record{Value: kafka.NewBytes([]byte("x"))}),
	})
	if err != nil {
		return err
	}
	return response.Error
}

// handshake connects and asks one question: with TLS 1.3 the server's verdict
// on the client's certificate only comes with its first answer.
func handshake(t *testing.T, c *Cluster, config *tls.Config) error {
	t.Helper()
	dialer := kafka.Dialer{TLS: config}
	conn, err := dialer.DialContext(within(t), "tcp", c.Bootstrap()[0])
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = conn.ApiVersions()
	return err
}
