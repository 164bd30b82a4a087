package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"smscancel/cmd/smscancel/process"
)

// KafkaFlags are those of every command that talks to Kafka.
type KafkaFlags struct {
	Brokers            []string `group:"Kafka" placeholder:"HOST:PORT" help:"Bootstrap brokers. Required."`
	KafkaTLS           bool     `name:"kafka-tls" group:"Kafka" help:"Connect with TLS."`
	KafkaCAFile        string   `name:"kafka-ca-file" group:"Kafka" placeholder:"FILE" help:"Authorities besides the system's (PEM)."`
	KafkaCertFile      string   `name:"kafka-cert-file" group:"Kafka" placeholder:"FILE" help:"Client certificate (PEM)."`
	KafkaKeyFile       string   `name:"kafka-key-file" group:"Kafka" placeholder:"FILE" beside:"kafka-cert-file" help:"Its private key (PEM)."`
	KafkaSASLMechanism string   `name:"kafka-sasl-mechanism" group:"Kafka" placeholder:"NAME" help:"plain, scram-sha-256 or scram-sha-512."`
	KafkaUsername      string   `name:"kafka-username" group:"Kafka" placeholder:"NAME" help:"SASL user."`
	KafkaPasswordFile  string   `name:"kafka-password-file" group:"Kafka" placeholder:"FILE" help:"File with the SASL password."`
}

// TopicFlags are those of every command that reads requests and outcomes.
type TopicFlags struct {
	Group        string   `group:"Kafka" default:"smscancel" placeholder:"NAME" help:"Consumer group [${default}]."`
	RequestTopic []string `group:"Kafka" default:"sms.cancel.requests" placeholder:"TOPIC" help:"Topics, by priority [${default}]."`
	OutcomeTopic string   `group:"Kafka" default:"sms.cancel.outcomes" placeholder:"TOPIC" help:"Outcome topic [${default}]."`
}

var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

func (f *TopicFlags) checkTopics(mistakes *usageError) {
	mistakes.want(f.Group != "", "group", f.Group, "name the consumer group")
	mistakes.want(len(f.RequestTopic) > 0, "request-topic", "", "name at least one topic")
	for i, topic := range f.RequestTopic {
		mistakes.want(topicName.MatchString(topic), "request-topic", topic, "a topic's name is 1 to 249 of A-Z a-z 0-9 . _ -")
		mistakes.want(!slices.Contains(f.RequestTopic[:i], topic), "request-topic", topic, "it is named twice")
	}
	mistakes.want(topicName.MatchString(f.OutcomeTopic), "outcome-topic", f.OutcomeTopic, "a topic's name is 1 to 249 of A-Z a-z 0-9 . _ -")
	mistakes.want(!slices.Contains(f.RequestTopic, f.OutcomeTopic), "outcome-topic", f.OutcomeTopic, "it must not be a request topic")
}

// cluster checks the flags and returns the way to the cluster.
func (f *KafkaFlags) cluster(mistakes *usageError) process.Cluster {
	mistakes.want(len(f.Brokers) > 0, "brokers", "", "name at least one broker as HOST:PORT")
	for _, broker := range f.Brokers {
		_, shown, found := strings.Cut(broker, "@") // what stands before it may be a password
		if !found {
			shown = broker
		}
		mistakes.want(isHostPort(broker) && !found, "brokers", shown, "each broker is HOST:PORT")
	}
	return process.Cluster{Brokers: f.Brokers, TLS: f.tls(mistakes), SASL: f.sasl(mistakes)}
}

func isHostPort(address string) bool {
	host, port, err := net.SplitHostPort(address)
	n, errPort := strconv.ParseUint(port, 10, 16)
	return err == nil && errPort == nil && host != "" && n > 0
}

func (f *KafkaFlags) tls(mistakes *usageError) *tls.Config {
	for _, given := range [][2]string{{"kafka-ca-file", f.KafkaCAFile}, {"kafka-cert-file", f.KafkaCertFile}, {"kafka-key-file", f.KafkaKeyFile}} {
		mistakes.want(given[1] == "" || f.KafkaTLS, given[0], given[1], "it has no effect without --kafka-tls")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.KafkaCAFile != "" {
		pool, err := loadPool(f.KafkaCAFile)
		mistakes.want(err == nil, "kafka-ca-file", f.KafkaCAFile, fmt.Sprint(err))
		config.RootCAs = pool
	}
	switch {
	case f.KafkaCertFile == "" && f.KafkaKeyFile == "":
	case f.KafkaCertFile == "":
		mistakes.want(false, "kafka-cert-file", "", "it is needed with --kafka-key-file")
	case f.KafkaKeyFile == "":
		mistakes.want(false, "kafka-key-file", "", "it is needed with --kafka-cert-file")
	default:
		pair := &keyPair{certFile: f.KafkaCertFile, keyFile: f.KafkaKeyFile}
		err := pair.read()
		mistakes.want(err == nil, "kafka-cert-file", f.KafkaCertFile, fmt.Sprint(err))
		config.GetClientCertificate = pair.show
	}
	if !f.KafkaTLS {
		return nil
	}
	return config
}

// keyPair is a client certificate in two files. They are read again for each
// connection, since they are replaced before it expires.
type keyPair struct {
	certFile, keyFile string

	mu   sync.Mutex
	last *tls.Certificate // that could be read
}

func (p *keyPair) read() error {
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = &cert
	return nil
}

// show is tls.Config.GetClientCertificate. Between the replacement of one file
// and the other they do not fit: then the last pair has to do.
func (p *keyPair) show(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	p.read() //nolint:errcheck // see above; an expired one is named by the broker
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last, nil
}

func loadPool(file string) (*x509.CertPool, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("it holds no certificate in PEM")
	}
	return pool, nil
}

func (f *KafkaFlags) sasl(mistakes *usageError) sasl.Mechanism {
	if f.KafkaSASLMechanism == "" {
		mistakes.want(f.KafkaUsername == "", "kafka-username", f.KafkaUsername, "it has no effect without --kafka-sasl-mechanism")
		mistakes.want(f.KafkaPasswordFile == "", "kafka-password-file", f.KafkaPasswordFile, "it has no effect without --kafka-sasl-mechanism")
		return nil
	}
	mistakes.want(f.KafkaUsername != "", "kafka-username", "", "it is needed with --kafka-sasl-mechanism")
	mistakes.want(f.KafkaPasswordFile != "", "kafka-password-file", "", "it is needed with --kafka-sasl-mechanism")
	password := ""
	if f.KafkaPasswordFile != "" {
		content, err := os.ReadFile(f.KafkaPasswordFile)
		password = strings.TrimRight(string(content), "\r\n")
		mistakes.want(err == nil, "kafka-password-file", f.KafkaPasswordFile, fmt.Sprint(err))
		mistakes.want(err != nil || password != "", "kafka-password-file", f.KafkaPasswordFile, "the file is empty")
	}
	var mechanism sasl.Mechanism
	var err error
	switch f.KafkaSASLMechanism {
	case "plain":
		mechanism = plain.Mechanism{Username: f.KafkaUsername, Password: password}
	case "scram-sha-256":
		mechanism, err = scram.Mechanism(scram.SHA256, f.KafkaUsername, password)
	case "scram-sha-512":
		mechanism, err = scram.Mechanism(scram.SHA512, f.KafkaUsername, password)
	default:
		mistakes.choose("kafka-sasl-mechanism", f.KafkaSASLMechanism)
	}
	// The error itself would show the password.
	mistakes.want(err == nil, "kafka-username", f.KafkaUsername, "user or password has a character that SCRAM does not allow")
	return mechanism
}
