package kafkatest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"

	"smscancel/integration/notrun"
)

const engineTimeout = 20 * time.Second

// Require skips the test when there is no container engine, or fails it: see
// notrun. Every test that needs a broker calls it first.
func Require(tb testing.TB) {
	tb.Helper()
	if ok, reason := Available(); !ok {
		notrun.Missing(tb, "real Kafka", reason)
	}
}

// Available tells whether a container engine answers, and if not, why. It asks
// once per process.
func Available() (ok bool, reason string) {
	if _, err := engine(); err != nil {
		return false, "no container engine: " + err.Error()
	}
	return true, ""
}

// engine is the one connection of this process to the container engine.
var engine = sync.OnceValues(func() (*client.Client, error) {
	if err := configure(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	docker, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, err
	}
	// testcontainers falls back to the default socket when DOCKER_HOST does not
	// answer; brokers in an engine that nobody asked for are worse than none.
	if want := os.Getenv("DOCKER_HOST"); want != "" && docker.DaemonHost() != want {
		return nil, fmt.Errorf("DOCKER_HOST %s does not answer", want)
	}
	return docker.Client, nil
})

// configure sets what testcontainers reads once, at its first use.
func configure() error {
	tclog.SetDefault(tclog.NewNoopLogger()) // the brokers' own logs are shown when a test fails
	for name, value := range map[string]string{
		"TESTCONTAINERS_RYUK_DISABLED": "true",      // its image needs a registry; see leftovers.go
		"TESTCONTAINERS_HOST_OVERRIDE": "127.0.0.1", // inside a container it would dial the gateway
	} {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("configure testcontainers: %w", err)
		}
	}
	return nil
}
