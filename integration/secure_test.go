package integration

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"smscancel/integration/kafkatest"
	"smscancel/integration/simulator"
)

const (
	kafkaUser     = "worker"
	kafkaPassword = "canary-71c2-password"
)

// lacking are users of whom each has all permissions but one: see permissions.
var lacking = []string{"no-read-outcomes", "no-write-outcomes", "no-read-requests", "no-group", "no-transactional-id"}

// secureWorld is a world whose workers have to use TLS, a client certificate
// and SCRAM, and may do only what they are allowed to.
func secureWorld(t *testing.T, partitions int, options kafkatest.Options) (w *world, secured []string) {
	t.Helper()
	users := map[string]string{kafkaUser: kafkaPassword}
	for _, user := range lacking {
		users[user] = kafkaPassword
	}
	options.Users, options.RequireClientCert = users, true
	cluster := kafkatest.Start(t, options)
	w = newWorld(t, cluster, partitions, simulator.Options{})
	secured, w.brokers = w.brokers, cluster.Admin() // the test itself looks from inside
	return w, secured
}

// security is what a worker shows the brokers, and knows of them.
type security struct {
	mechanism, user, password string
	ca, cert, key             []byte // in PEM; nil = none
}

func (w *world) security(mechanism, user, password string) security {
	w.t.Helper()
	cert, key := w.cluster.ClientCert()
	return security{mechanism, user, password, w.cluster.CA(), cert, key}
}

func (s security) flags(t testing.TB) []string {
	t.Helper()
	flags := []string{"--kafka-tls", "--kafka-sasl-mechanism", s.mechanism, "--kafka-username", s.user}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"ca": s.ca, "cert": s.cert, "key": s.key, "password": []byte(s.password + "\n")} {
		if content == nil {
			continue
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "--kafka-"+name+"-file", file)
	}
	return flags
}

// securityFlags are those of a worker with a password.
func (w *world) securityFlags(mechanism, user, password string) []string {
	w.t.Helper()
	return w.security(mechanism, user, password).flags(w.t)
}

// permission is an ACL and the texts by which the worker names its absence.
type permission struct {
	acl     kafka.ACLEntry
	missing []string
}

// permissions are all that a worker needs, in the order of lacking. READ and
// WRITE include DESCRIBE.
func (w *world) permissions() []permission {
	topic := func(name string, operation kafka.ACLOperationType) kafka.ACLEntry {
		return kafka.ACLEntry{ResourceType: kafka.ResourceTypeTopic, ResourceName: name, Operation: operation}
	}
	return []permission{
		{topic(w.outcomes, kafka.ACLOperationTypeRead), []string{"fetch " + w.outcomes, "Topic Authorization Failed"}},
		{topic(w.outcomes, kafka.ACLOperationTypeWrite), []string{"AddPartitionsToTxn", w.outcomes, "Topic Authorization Failed"}},
		{topic(w.requests, kafka.ACLOperationTypeRead), []string{w.requests, "Topic Authorization Failed"}},
		{kafka.ACLEntry{ResourceType: kafka.ResourceTypeGroup, ResourceName: w.group, Operation: kafka.ACLOperationTypeRead},
			[]string{"Group Authorization Failed"}},
		{kafka.ACLEntry{ResourceType: kafka.ResourceTypeTransactionalID, ResourceName: "smscancel/",
			ResourcePatternType: kafka.PatternTypePrefixed, Operation: kafka.ACLOperationTypeWrite},
			[]string{"Transactional ID Authorization Failed"}},
	}
}

// Fault: the brokers speak TLS 1.2 only; each permission is missing in turn; user,
// password, authority and client certificate are wrong; the broker hangs, so that
// TLS gets no answer. Promise: the worker stays up and names what is missing or
// wrong, and no password; with all of it, with each SASL mechanism, and with no
// right to read topic settings, it does all its work.
func TestTheWorkerSpeaksTLSAndSASL(t *testing.T) {
	kafkatest.Require(t)
	t.Parallel()
	w, secured := secureWorld(t, 2, kafkatest.Options{OnlyTLS12: true})
	if _, err := tls.Dial("tcp", secured[0], &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Fatalf("the broker does not refuse TLS 1.3: %v", err)
	}
	w.eachMissingPermissionNamesItself(secured)
	for _, p := range w.permissions() {
		w.cluster.Allow(kafkaUser, p.acl)
	}
	if code, said := w.check(secured, w.securityFlags("scram-sha-512", kafkaUser, kafkaPassword)); code != 0 || strings.Contains(said, "FAILED") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	if code, said := w.check(secured, w.securityFlags("scram-sha-512", kafkaUser, "canary-wrong")); code != 1 || !strings.Contains(said, "FAILED   SASL: ") || strings.Contains(said, "canary-wrong") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	if err := w.sim.Reset(); err != nil { // what check has asked for is nobody's request
		t.Fatal(err)
	}
	total := 0
	works := func(r *replica) {
		t.Helper()
		w.ask(total, 20)
		total += 20
		w.waitForOutcomes(total)
		w.waitReady(r)
	}
	for _, mechanism := range []string{"scram-sha-512", "scram-sha-256", "plain"} {
		r := w.startAt(secured, mechanism, w.securityFlags(mechanism, kafkaUser, kafkaPassword)...)
		works(r)
		r.stop()
		if r.logged("DescribeConfigs") == 0 {
			t.Errorf("%s: the worker does not say that it could not check the topics' settings", mechanism)
		}
	}
	flags := w.securityFlags("scram-sha-512", kafkaUser, kafkaPassword)
	w.cluster.Pause(0)
	r := w.startAt(secured, "stalled", flags...)
	w.waitUnready(r, secured[0], "deadline exceeded")
	w.cluster.Unpause(0)
	works(r)
	if longRun {
		w.cluster.Pause(0)
		w.waitUnready(r, "not answer")
		w.cluster.Unpause(0)
		works(r)
	}
	r.stop()
	w.audit()
	w.wrongCredentialsNameThemselves(secured)
}

func (w *world) eachMissingPermissionNamesItself(secured []string) {
	needed := w.permissions()
	for i, user := range lacking {
		for j, p := range needed {
			if i != j {
				w.cluster.Allow(user, p.acl)
			}
		}
		flags := w.securityFlags("scram-sha-512", user, kafkaPassword)
		w.checkFails(secured, flags, needed[i].acl)
		r := w.startAt(secured, user, flags...)
		w.waitUnready(r, needed[i].missing...)
		w.cluster.Allow(user, needed[i].acl)
		w.waitReady(r)
		r.stop()
	}
}

// checkFails runs `check` for a user who lacks a permission: it names the step and
// the permission to give, and nothing else fails.
func (w *world) checkFails(secured, flags []string, acl kafka.ACLEntry) {
	w.t.Helper()
	step := map[kafka.ResourceType]string{kafka.ResourceTypeTopic: "topic " + acl.ResourceName, kafka.ResourceTypeGroup: "group " + w.group,
		kafka.ResourceTypeTransactionalID: "transactional id"}[acl.ResourceType]
	code, said := w.check(secured, flags)
	if code != 1 || strings.Count(said, "FAILED ") != 1 || !strings.Contains(said, "FAILED   "+step+": ") || !strings.Contains(said, "allow this user ") {
		w.t.Errorf("without %v on %s: exit code %d:\n%s", acl.Operation, step, code, said)
	}
}

// check runs `check` with the worker's flags.
func (w *world) check(secured, flags []string) (code int, said string) {
	w.t.Helper()
	path, err := plainBinary()
	if err != nil {
		w.t.Fatal(err)
	}
	c := &tool{cmd: exec.Command(path, append([]string{"check", "--brokers", strings.Join(secured, ","), "--group", w.group, "--request-topic", w.requests,
		"--outcome-topic", w.outcomes, "--api-url", w.api.URL(), "--api-ca-file", w.ca, "--api-key-file", w.keyFile, "--sub-account", "acme_shop"}, flags...)...)}
	c.cmd.Stdout, c.cmd.Stderr = &c.output, &c.output
	return w.run(c), c.output.String()
}

// wrongCredentialsNameThemselves starts workers with one of them wrong.
func (w *world) wrongCredentialsNameThemselves(secured []string) {
	stranger := httptest.NewTLSServer(nil)
	defer stranger.Close()
	const wrongPassword = "canary-wrong"
	for name, c := range map[string]struct {
		change func(*security)
		says   []string
	}{
		"password":     {func(s *security) { s.password = wrongPassword }, []string{"SASL with broker " + secured[0], "SASL Authentication Failed"}},
		"user":         {func(s *security) { s.user = "nobody" }, []string{"SASL with broker " + secured[0], "SASL Authentication Failed"}},
		"authority":    {func(s *security) { s.ca = pemOf(stranger.Certificate()) }, []string{"TLS with broker " + secured[0], "unknown authority"}},
		"certificate":  {func(s *security) { s.cert, s.key = nil, nil }, []string{secured[0], "certificate"}},
		"no authority": {func(s *security) { s.ca = nil }, []string{"TLS with broker " + secured[0], "unknown authority"}},
	} {
		s := w.security("scram-sha-512", kafkaUser, kafkaPassword)
		c.change(&s)
		r := w.startAt(secured, "wrong-"+strings.ReplaceAll(name, " ", "-"), s.flags(w.t)...)
		w.waitUnready(r, c.says...)
		r.stop()
		for _, password := range []string{kafkaPassword, wrongPassword} {
			if r.logged(password) != 0 {
				w.t.Errorf("%s: the log contains the password %s", name, password)
			}
		}
	}
}

func pemOf(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
