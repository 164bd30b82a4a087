package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"

	"github.com/segmentio/kafka-go"

	"smscancel/worker/status"
)

// explained says of an error from Kafka where it happened and what to do about
// it. rights are the permissions that the command needs.
func explained(err error, brokers []string, rights string) error {
	at := strings.Join(brokers, ", ")
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kafka.UnknownTopicOrPartition):
		return fmt.Errorf("%w: it is not on %s, or may not be seen: create it with smscancel topics, or name another one", err, at)
	case errors.Is(err, kafka.TopicAuthorizationFailed), errors.Is(err, kafka.GroupAuthorizationFailed):
		return fmt.Errorf("%w: give this user %s", err, rights)
	case errors.Is(err, kafka.SASLAuthenticationFailed):
		return fmt.Errorf("%w: check --kafka-username and what stands in --kafka-password-file", err)
	case unreachable(err):
		return fmt.Errorf("no broker of %s could be used: %s: check --brokers and the --kafka flags", at, inPlainWords(status.Reason(err)))
	}
	return err
}

// unreachable tells whether it was the way to the broker that failed.
func unreachable(err error) bool {
	var (
		op     *net.OpError
		name   *net.DNSError
		cert   *tls.CertificateVerificationError
		record tls.RecordHeaderError
	)
	return errors.As(err, &op) || errors.As(err, &name) || errors.As(err, &cert) || errors.As(err, &record) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

var clientsMethod = regexp.MustCompile(`kafka\.\(\*\w+\)\.\w+: `)

// inPlainWords leaves out which method of the client library it was.
func inPlainWords(text string) string { return clientsMethod.ReplaceAllString(text, "") }
