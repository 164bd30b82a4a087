package kafkatest

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"

	"github.com/segmentio/kafka-go"
	"github.com/testcontainers/testcontainers-go"
)

const (
	keystorePath   = "/tmp/kafkatest-keystore.pem"
	truststorePath = "/tmp/kafkatest-truststore.pem"

	scramIterations = 4096 // the least that Kafka takes
	scramSaltBytes  = 16
)

// secureSide is what the listener SECURE and its clients need.
type secureSide struct {
	authority *authority
	server    keyPair
	client    keyPair
}

func newSecureSide() (*secureSide, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	server, err := ca.issue("broker")
	if err != nil {
		return nil, err
	}
	clientPair, err := ca.issue("client")
	if err != nil {
		return nil, err
	}
	return &secureSide{authority: ca, server: server, client: clientPair}, nil
}

// CA is the certificate, in PEM, that vouches for the brokers of a cluster
// with users.
func (c *Cluster) CA() []byte { return c.secure.authority.cert }

// ClientCert is a certificate and its key, in PEM, that a cluster with users
// trusts. It asks for one only with RequireClientCert.
func (c *Cluster) ClientCert() (cert, key []byte) {
	return c.secure.client.cert, c.secure.client.key
}

// Allow adds ACLs to a cluster with users, which may do nothing without them.
// An entry without a principal is for user, one without a host for every host,
// and one without a permission grants.
func (c *Cluster) Allow(user string, entries ...kafka.ACLEntry) {
	c.tb.Helper()
	acls := slices.Clone(entries)
	for i := range acls {
		fillACL(&acls[i], user)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := withAdmin(c.Admin(), func(admin *kafka.Client) error {
		response, err := admin.CreateACLs(ctx, &kafka.CreateACLsRequest{ACLs: acls})
		if err != nil {
			return err
		}
		return errors.Join(response.Errors...)
	})
	if err != nil {
		c.tb.Fatalf("allow %s: %v", user, err)
	}
}

// Revoke takes ACLs away again that Allow has given.
func (c *Cluster) Revoke(user string, entries ...kafka.ACLEntry) {
	c.tb.Helper()
	var request kafka.DeleteACLsRequest
	for _, acl := range entries {
		fillACL(&acl, user)
		request.Filters = append(request.Filters, kafka.DeleteACLsFilter{
			ResourceTypeFilter: acl.ResourceType, ResourceNameFilter: acl.ResourceName, ResourcePatternTypeFilter: acl.ResourcePatternType,
			PrincipalFilter: acl.Principal, HostFilter: acl.Host, Operation: acl.Operation, PermissionType: acl.PermissionType,
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := withAdmin(c.Admin(), func(admin *kafka.Client) error {
		response, err := admin.DeleteACLs(ctx, &request)
		if err != nil {
			return err
		}
		for _, result := range response.Results {
			if err == nil && result.Error == nil && len(result.MatchingACLs) == 0 {
				result.Error = errors.New("there is no such ACL")
			}
			err = errors.Join(err, result.Error)
		}
		return err
	})
	if err != nil {
		c.tb.Fatalf("revoke from %s: %v", user, err)
	}
}

func fillACL(acl *kafka.ACLEntry, user string) {
	if acl.Principal == "" {
		acl.Principal = "User:" + user
	}
	if acl.Host == "" {
		acl.Host = "*"
	}
	if acl.PermissionType == kafka.ACLPermissionTypeUnknown {
		acl.PermissionType = kafka.ACLPermissionTypeAllow
	}
	if acl.ResourcePatternType == kafka.PatternTypeUnknown {
		acl.ResourcePatternType = kafka.PatternTypeLiteral
	}
}

// secureEnvironment adds the listener SECURE to env. Clients of the other
// listeners are anonymous and may do everything.
func (o *Options) secureEnvironment(env map[string]string, port int) map[string]string {
	const login = "org.apache.kafka.common.security."
	clientAuth := "requested"
	if o.RequireClientCert {
		clientAuth = "required"
	}
	protocols := "TLSv1.2,TLSv1.3"
	if o.OnlyTLS12 {
		protocols = "TLSv1.2"
	}
	return map[string]string{
		"KAFKA_LISTENERS":            env["KAFKA_LISTENERS"] + fmt.Sprintf(",SECURE://:%d", securePort),
		"KAFKA_ADVERTISED_LISTENERS": env["KAFKA_ADVERTISED_LISTENERS"] + fmt.Sprintf(",SECURE://127.0.0.1:%d", port),

		"KAFKA_SSL_KEYSTORE_TYPE":       "PEM",
		"KAFKA_SSL_KEYSTORE_LOCATION":   keystorePath,
		"KAFKA_SSL_TRUSTSTORE_TYPE":     "PEM",
		"KAFKA_SSL_TRUSTSTORE_LOCATION": truststorePath,

		"KAFKA_LISTENER_NAME_SECURE_SSL_ENABLED_PROTOCOLS": protocols,

		// With SASL, Kafka heeds this one only under the listener's name.
		"KAFKA_LISTENER_NAME_SECURE_SSL_CLIENT_AUTH": clientAuth,

		// In a variable's name _ stands for a dot and ___ for a dash.
		"KAFKA_SASL_ENABLED_MECHANISMS":                                 "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"KAFKA_LISTENER_NAME_SECURE_PLAIN_SASL_JAAS_CONFIG":             login + "plain.PlainLoginModule required" + o.plainUsers() + ";",
		"KAFKA_LISTENER_NAME_SECURE_SCRAM___SHA___256_SASL_JAAS_CONFIG": login + "scram.ScramLoginModule required;",
		"KAFKA_LISTENER_NAME_SECURE_SCRAM___SHA___512_SASL_JAAS_CONFIG": login + "scram.ScramLoginModule required;",

		"KAFKA_AUTHORIZER_CLASS_NAME": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"KAFKA_SUPER_USERS":           "User:ANONYMOUS",
	}
}

// plainUsers is the PLAIN module's own list of users; SCRAM's live in the
// cluster's metadata, see addUsers. The list is read twice, as properties and
// as a login configuration, and both take backslashes for escapes.
func (o *Options) plainUsers() string {
	escape := strings.NewReplacer(`\`, `\\\\`, `"`, `\\"`)
	var list strings.Builder
	for _, name := range slices.Sorted(maps.Keys(o.Users)) {
		fmt.Fprintf(&list, ` user_%s="%s"`, name, escape.Replace(o.Users[name]))
	}
	return list.String()
}

// files are copied into the container before it starts.
func (s *secureSide) files() []testcontainers.ContainerFile {
	keystore := slices.Concat(s.server.key, s.server.cert, s.authority.cert)
	return []testcontainers.ContainerFile{
		{Reader: bytes.NewReader(keystore), ContainerFilePath: keystorePath, FileMode: 0o644},
		{Reader: bytes.NewReader(s.authority.cert), ContainerFilePath: truststorePath, FileMode: 0o644},
	}
}

// addUsers stores the SCRAM credentials of users, in one request for each
// mechanism: Kafka refuses two credentials of a user in the same one.
func addUsers(ctx context.Context, brokers []string, users map[string]string) error {
	for mechanism, newHash := range map[kafka.ScramMechanism]func() hash.Hash{
		kafka.ScramMechanismSha256: sha256.New,
		kafka.ScramMechanismSha512: sha512.New,
	} {
		var request kafka.AlterUserScramCredentialsRequest
		for name, password := range users {
			credential, err := scramCredential(name, password, mechanism, newHash)
			if err != nil {
				return fmt.Errorf("user %s: %w", name, err)
			}
			request.Upsertions = append(request.Upsertions, credential)
		}
		if err := storeCredentials(ctx, brokers, &request); err != nil {
			return fmt.Errorf("store SCRAM credentials: %w", err)
		}
	}
	return nil
}

func storeCredentials(ctx context.Context, brokers []string, request *kafka.AlterUserScramCredentialsRequest) error {
	return withAdmin(brokers, func(admin *kafka.Client) error {
		response, err := admin.AlterUserScramCredentials(ctx, request)
		if err != nil {
			return err
		}
		var errs []error
		for _, result := range response.Results {
			if result.Error != nil {
				errs = append(errs, fmt.Errorf("user %s: %w", result.User, result.Error))
			}
		}
		return errors.Join(errs...)
	})
}

// scramCredential salts the password as RFC 5802 says; Kafka leaves that to
// its clients.
func scramCredential(name, password string, mechanism kafka.ScramMechanism, newHash func() hash.Hash) (kafka.UserScramCredentialsUpsertion, error) {
	salt := make([]byte, scramSaltBytes)
	_, _ = rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(newHash, password, salt, scramIterations, newHash().Size())
	if err != nil {
		return kafka.UserScramCredentialsUpsertion{}, fmt.Errorf("salt the password: %w", err)
	}
	return kafka.UserScramCredentialsUpsertion{
		Name: name, Mechanism: mechanism, Iterations: scramIterations, Salt: salt, SaltedPassword: salted,
	}, nil
}
