package integration

import (
	"os"
	"path/filepath"
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
func secureWorld(t *testing.T, partitions int) (w *world, secured []string) {
	t.Helper()
	users := map[string]string{kafkaUser: kafkaPassword}
	for _, user := range lacking {
		users[user] = kafkaPassword
	}
	cluster := kafkatest.Start(t, kafkatest.Options{Users: users, RequireClientCert: true})
	w = newWorld(t, cluster, partitions, simulator.Options{})
	secured, w.brokers = w.brokers, cluster.Admin() // the test itself looks from inside
	return w, secured
}

// securityFlags are those of a worker with a password.
func (w *world) securityFlags(mechanism, user, password string) []string {
	w.t.Helper()
	cert, key := w.cluster.ClientCert()
	files := map[string][]byte{"kafka-ca.pem": w.cluster.CA(), "cert.pem": cert, "key.pem": key, "password": []byte(password + "\n")}
	dir := w.t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	return []string{"--kafka-tls", "--kafka-ca-file", filepath.Join(dir, "kafka-ca.pem"),
		"--kafka-cert-file", filepath.Join(dir, "cert.pem"), "--kafka-key-file", filepath.Join(dir, "key.pem"),
		"--kafka-sasl-mechanism", mechanism, "--kafka-username", user, "--kafka-password-file", filepath.Join(dir, "password")}
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

// Fault: each permission is missing in turn. Promise: the worker stays up and
// names what it lacks; with all of them, and no right to read topic settings,
// it does all its work.
func TestTheWorkerSpeaksTLSAndSCRAM(t *testing.T) {
	kafkatest.Require(t)
	w, secured := secureWorld(t, 2)
	needed := w.permissions()
	for i, user := range lacking {
		for j, p := range needed {
			if i != j {
				w.cluster.Allow(user, p.acl)
			}
		}
		r := w.startAt(secured, user, w.securityFlags("scram-sha-512", user, kafkaPassword)...)
		w.waitUnready(r, needed[i].missing...)
		w.cluster.Allow(user, needed[i].acl)
		w.waitReady(r)
		r.stop()
	}
	for _, p := range needed {
		w.cluster.Allow(kafkaUser, p.acl)
	}
	r := w.startAt(secured, "worker", w.securityFlags("scram-sha-512", kafkaUser, kafkaPassword)...)
	w.waitReady(r)
	w.waitRunning(r)
	w.publish(batchOf(0, 40)...)
	w.waitForOutcomes(40)
	r.stop()
	if r.logged("DescribeConfigs") == 0 {
		t.Error("the worker does not say that it could not check the topics' settings")
	}
	r = w.startAt(secured, "other-mechanism", w.securityFlags("scram-sha-256", kafkaUser, kafkaPassword)...)
	w.publish(batchOf(100, 10)...)
	w.waitForOutcomes(50)
	r.stop()
	w.audit()

	r = w.startAt(secured, "wrong-password", w.securityFlags("scram-sha-512", kafkaUser, "canary-wrong")...)
	w.waitUnready(r, "SASL Authentication Failed")
	for _, password := range []string{kafkaPassword, "canary-wrong"} {
		if r.logged(password) != 0 {
			t.Errorf("the log contains the password %s", password)
		}
	}
	r.stop()
}
