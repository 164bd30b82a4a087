package process

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go/sasl/scram"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	clientscram "github.com/twmb/franz-go/pkg/sasl/scram"

	"smscancel/worker/api"
)

// stage is where an exchange with a broker may stall: before TLS, or at a kind
// of request, which is taken and never answered.
type stage string

const (
	beforeTLS  stage = "TLS"
	everything stage = "everything"
)

// stalling is a broker behind TLS and SCRAM that stalls at a stage until it is
// mended. It accepts connections all the while. A request that it has taken
// without an answer is lost: the embedded broker would keep a member for ever
// whose client was gone before it joined.
type stalling struct {
	network   kfake.VirtualNetwork
	cluster   *kfake.Cluster
	authority *authority // that the workers trust
	workers   []*underTest

	mu     sync.Mutex
	cert   tls.Certificate
	stalls stage
	mended chan struct{}
	rate   int // bytes a second, on each connection and way; 0 = no limit
}

const (
	kafkaUser     = "worker"
	kafkaPassword = "canary-71c2-password"
	wrongPassword = "canary-wrong-password"
	brokerAddress = "localhost:9092"
)

func newStalling(t *testing.T) *stalling {
	t.Helper()
	b := &stalling{authority: newAuthority(t)}
	b.show(b.authority.issue(template()))
	var err error
	b.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(b.network.Listen), kfake.EnableSASL(),
		kfake.Superuser("SCRAM-SHA-512", kafkaUser, kafkaPassword), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for topic, settings := range map[string]map[string]string{"requests": nil, "outcomes": {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}} {
		if err := b.cluster.CreateTopic(topic, 1, settings); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// authority issues certificates for brokers.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, cert: template()}
	a.cert.IsCA, a.cert.BasicConstraintsValid, a.cert.KeyUsage = true, true, x509.KeyUsageCertSign
	issued := a.issue(nil)
	a.key = issued.PrivateKey.(*ecdsa.PrivateKey)
	a.cert = issued.Leaf
	return a
}

func template() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

// issue makes a certificate; nil makes the authority's own.
func (a *authority) issue(leaf *x509.Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if leaf == nil {
		leaf, signer = a.cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: cert}
}

func (b *stalling) stall(at stage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stalls, b.mended = at, make(chan struct{})
}

func (b *stalling) mend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.stalls != "" {
		close(b.mended)
	}
	b.stalls = ""
}

// narrow lets so many bytes a second through, on each connection and way.
func (b *stalling) narrow(rate int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rate = rate
}

// paced is a connection as narrow as its broker's network.
type paced struct {
	net.Conn
	broker *stalling
}

func (p paced) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b[:min(len(b), paceBytes)])
	p.pay(n)
	return n, err
}

func (p paced) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var written int
		written, err = p.Conn.Write(b[n:min(len(b), n+paceBytes)])
		p.pay(written)
		n += written
	}
	return n, err
}

const paceBytes = 4 << 10

func (p paced) pay(n int) {
	p.broker.mu.Lock()
	rate := p.broker.rate
	p.broker.mu.Unlock()
	if rate > 0 {
		time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
	}
}

// show makes the broker show a certificate from now on.
func (b *stalling) show(cert tls.Certificate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cert = cert
}

func (b *stalling) shown(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &b.cert, nil
}

// stalled waits while the broker stalls at a stage, and tells whether it did.
func (b *stalling) stalled(at stage) bool {
	b.mu.Lock()
	stalls, mended := b.stalls == at || b.stalls == everything, b.mended
	b.mu.Unlock()
	if stalls {
		<-mended
	}
	return stalls
}

// connect is process.Cluster.Connect.
func (b *stalling) connect(context.Context, string, string) (net.Conn, error) {
	inner, outer := net.Pipe()
	go b.serve(outer)
	return inner, nil
}

func (b *stalling) serve(raw net.Conn) {
	defer raw.Close()
	b.stalled(beforeTLS)
	conn := tls.Server(paced{raw, b}, &tls.Config{GetCertificate: b.shown, MinVersion: tls.VersionTLS12})
	upstream, err := b.network.DialContext(context.Background(), "tcp", brokerAddress)
	if err != nil || conn.Handshake() != nil {
		return
	}
	defer upstream.Close()
	go func() {
		io.Copy(conn, upstream)
		conn.Close()
	}()
	for {
		var size [4]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		frame := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
		copy(frame, size[:])
		if _, err := io.ReadFull(conn, frame[4:]); err != nil {
			return
		}
		if b.stalled(stage(kmsg.NameForKey(int16(binary.BigEndian.Uint16(frame[4:]))))) {
			return
		}
		if _, err := upstream.Write(frame); err != nil {
			return
		}
	}
}

// underTest is a process under test.
type underTest struct {
	*Process
	t      *testing.T
	broker *stalling
	log    *logBuffer
	stop   context.CancelFunc
	done   chan error
}

type logBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

// end is the last of it.
func (l *logBuffer) end() string {
	text := l.text()
	return text[max(0, len(text)-3000):]
}

func (b *stalling) start(t *testing.T, password string) *underTest {
	t.Helper()
	keys, err := api.LiteralKey("canary-key")
	if err != nil {
		t.Fatal(err)
	}
	login, err := scram.Mechanism(scram.SHA512, kafkaUser, password)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(b.authority.cert)
	w := &underTest{t: t, broker: b, log: &logBuffer{}, done: make(chan error, 1)}
	w.Process, err = New(Config{
		Instance: "under-test", Group: "smscancel", RequestTopics: []string{"requests"}, OutcomeTopic: "outcomes",
		Cluster:        Cluster{Brokers: []string{brokerAddress}, TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, SASL: login, Connect: b.connect},
		SessionTimeout: 10 * time.Second, APIURL: "http://127.0.0.1", APIConnect: b.dialAPI, Keys: keys, DefaultSubAccount: "acme",
		AttemptTimeout: 10 * time.Second, Window: 100, Concurrency: 10, RetryInitial: time.Second, RetryMaxInterval: time.Second, RetryMaxElapsed: time.Hour,
		RetryAfterMax: time.Minute, DedupeWindow: 24 * time.Hour, DrainTimeout: 25 * time.Second,
	}, zerolog.New(w.log).With().Timestamp().Logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	go func() { w.done <- w.Run(ctx, nil) }()
	b.workers = append(b.workers, w)
	return w
}

// dialAPI leads to an API that cancels everything.
func (b *stalling) dialAPI(context.Context, string, string) (net.Conn, error) {
	return b.network.DialContext(context.Background(), "tcp", "127.0.0.1:80")
}

func (b *stalling) serveAPI(t *testing.T) *http.Server {
	t.Helper()
	l, err := b.network.Listen("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"cancelledCount":1}`) })}
	go s.Serve(l)
	return s
}

// wait waits until check has nothing to object to, at most for a time.
func (w *underTest) wait(what string, atMost time.Duration, check func() error) {
	w.t.Helper()
	for start := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Since(start) > atMost {
			w.t.Fatalf("waited %s for %s: %v\n%s", atMost, what, err, w.log.end())
		}
	}
}

// stuck waits for a worker that says why it is not ready.
func (w *underTest) stuck(pattern string, atMost time.Duration) {
	w.t.Helper()
	says := regexp.MustCompile(pattern)
	w.wait("the reason "+pattern, atMost, func() error {
		if s := w.Status(); s.Ready || !says.MatchString(s.Reason) {
			return fmt.Errorf("ready %t: %s", s.Ready, s.Reason)
		}
		return nil
	})
}

// staysStuck makes sure that it says so all the time, also while it tries again.
func (w *underTest) staysStuck(pattern string, during time.Duration) {
	w.t.Helper()
	says := regexp.MustCompile(pattern)
	for start := time.Now(); time.Since(start) < during; time.Sleep(100 * time.Millisecond) {
		if s := w.Status(); s.Ready || !says.MatchString(s.Reason) {
			w.t.Fatalf("after %s: ready %t: %q, want %s", time.Since(start), s.Ready, s.Reason, pattern)
		}
	}
}

// works waits for a worker that is ready and has settled n requests.
func (w *underTest) works(n int64, atMost time.Duration) {
	w.t.Helper()
	w.wait(fmt.Sprint(n, " settled requests"), atMost, func() error {
		if s := w.Status(); !s.Ready || len(s.Partitions) != 1 || s.Partitions[0].Watermark != n {
			return fmt.Errorf("ready %t: %q, %+v", s.Ready, s.Reason, s.Partitions)
		}
		return nil
	})
}

// publish publishes a request, past whatever stalls.
func (b *stalling) publish(t *testing.T, n int) {
	t.Helper()
	id := fmt.Sprintf("umid-%d", n)
	b.write(t, &kgo.Record{Topic: "requests", Key: []byte(id), Value: []byte(`{"umid":"` + id + `"}`)})
}

func (b *stalling) write(t *testing.T, rs ...*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokerAddress), kgo.Dialer(b.network.DialContext),
		kgo.SASL(clientscram.Auth{User: kafkaUser, Pass: kafkaPassword}.AsSha512Mechanism()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(context.Background(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// afterglow is how long what still sleeps may go on at the end of a bubble.
const afterglow = 10 * time.Minute

// onAStage runs a test in virtual time.
func onAStage(t *testing.T, name string, test func(t *testing.T, b *stalling)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newStalling(t)
			s := b.serveAPI(t)
			defer func() {
				b.mend()
				for _, w := range b.workers {
					w.end()
				}
				s.Close()
				b.cluster.Close()
				time.Sleep(afterglow)
			}()
			test(t, b)
		})
	})
}

func (w *underTest) end() {
	w.t.Helper()
	w.stop()
	if err := <-w.done; err != nil {
		w.t.Errorf("ended with %v", err)
	}
	for _, secret := range []string{kafkaPassword, wrongPassword} {
		if strings.Contains(w.log.text(), secret) {
			w.t.Errorf("the log contains the password %s", secret)
		}
	}
}
