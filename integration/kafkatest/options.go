package kafkatest

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// Options say what to start. The zero value is one broker without access
// control.
type Options struct {
	// Brokers is 1 (the default) or 3. Three replicate every topic, internal
	// ones included, threefold with min.insync.replicas 2.
	Brokers int

	// Env adds to or replaces the brokers' environment: KAFKA_LOG_RETENTION_MS
	// sets log.retention.ms, KAFKA_HEAP_OPTS the heap.
	Env map[string]string

	// Users are names and passwords. If there are any, Bootstrap is a listener
	// that speaks SASL over TLS (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512) and
	// grants nothing until Allow. One broker only.
	Users map[string]string

	// RequireClientCert makes the listener of Users ask for a certificate too.
	RequireClientCert bool

	// OnlyTLS12 takes TLS 1.3 away from the listener of Users.
	OnlyTLS12 bool

	// Detour gives the brokers a second listener whose clients come through
	// proxies that can break the network: see Cluster.Detour.
	Detour bool

	// DiskMiB gives each broker a disk of its own, in memory and of this size,
	// for FillDisk; 0 leaves its data in the container.
	DiskMiB int

	port func() (int, error) // chooses a loopback port; nil: FreePort
}

// Ports inside a container. A listener's name must not contain SASL_ or SSL:
// the images' entry scripts take such a name for a request of their own.
const (
	plainPort      = 9092  // PLAIN, published: clients, and the tests' own administration
	securePort     = 9094  // SECURE, published where there are users
	detourPort     = 9096  // DETOUR, published where there are proxies
	internalPort   = 19092 // INTERNAL: between brokers, and for the tools inside
	controllerPort = 29093 // CONTROLLER: the KRaft quorum
)

// validate fills the defaults and says what cannot be started.
func (o *Options) validate() error {
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.Brokers != 1 && o.Brokers != 3 {
		return fmt.Errorf("%d brokers: only 1 and 3 are supported", o.Brokers)
	}
	if (o.RequireClientCert || o.OnlyTLS12) && len(o.Users) == 0 {
		return errors.New("there is no TLS without users")
	}
	if len(o.Users) > 0 && o.Brokers != 1 {
		return fmt.Errorf("users need a single broker, not %d", o.Brokers)
	}
	if o.port == nil {
		o.port = FreePort
	}
	return nil
}

// environment of a broker. Setting any KAFKA_* replaces the image's default
// file, so this is the whole configuration.
func (o *Options) environment(b *broker, clusterID string) map[string]string {
	minISR := (o.Brokers + 1) / 2
	env := map[string]string{
		"CLUSTER_ID":                           clusterID,
		"KAFKA_NODE_ID":                        strconv.Itoa(b.id),
		"KAFKA_PROCESS_ROLES":                  "broker,controller",
		"KAFKA_CONTROLLER_QUORUM_VOTERS":       o.voters(),
		"KAFKA_CONTROLLER_LISTENER_NAMES":      "CONTROLLER",
		"KAFKA_INTER_BROKER_LISTENER_NAME":     "INTERNAL",
		"KAFKA_LISTENERS":                      fmt.Sprintf("PLAIN://:%d,INTERNAL://:%d,CONTROLLER://:%d", plainPort, internalPort, controllerPort),
		"KAFKA_ADVERTISED_LISTENERS":           fmt.Sprintf("PLAIN://127.0.0.1:%d,INTERNAL://%s:%d", b.plain, o.hostname(b.id), internalPort),
		"KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAIN:PLAINTEXT,DETOUR:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
		"KAFKA_LOG_DIRS":                       "/tmp/kraft-combined-logs",

		"KAFKA_DEFAULT_REPLICATION_FACTOR":               strconv.Itoa(o.Brokers),
		"KAFKA_MIN_INSYNC_REPLICAS":                      strconv.Itoa(minISR),
		"KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR":         strconv.Itoa(o.Brokers),
		"KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": strconv.Itoa(o.Brokers),
		"KAFKA_TRANSACTION_STATE_LOG_MIN_ISR":            strconv.Itoa(minISR),
		"KAFKA_AUTO_CREATE_TOPICS_ENABLE":                "false", // a missing topic must show

		// Small and quick, for machines with two cores.
		"KAFKA_HEAP_OPTS":                            "-Xms128m -Xmx400m",
		"KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS":         "6",
		"KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "6",
		"KAFKA_LOG_CLEANER_DEDUPE_BUFFER_SIZE":       "4194304", // 128 MiB of heap by default
		"KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS":     "0",
		"KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS":         "500", // so that tests of evictions are short
	}
	if b.disk != nil {
		env["KAFKA_LOG_DIRS"] = diskPath + "/logs"
	}
	if b.proxy != nil {
		env["KAFKA_LISTENERS"] += fmt.Sprintf(",DETOUR://:%d", detourPort)
		env["KAFKA_ADVERTISED_LISTENERS"] += ",DETOUR://" + b.proxy.Listen
	}
	if len(o.Users) > 0 {
		maps.Copy(env, o.secureEnvironment(env, b.secure))
	}
	maps.Copy(env, o.Env)
	return env
}

func (o *Options) voters() string {
	voters := make([]string, 0, o.Brokers)
	for id := 1; id <= o.Brokers; id++ {
		voters = append(voters, fmt.Sprintf("%d@%s:%d", id, o.hostname(id), controllerPort))
	}
	return strings.Join(voters, ",")
}

// hostname is how brokers reach each other; a single one only itself.
func (o *Options) hostname(id int) string {
	if o.Brokers == 1 {
		return "localhost"
	}
	return "kafka" + strconv.Itoa(id)
}
