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
)

const (
	// RequireEnv set to 1 turns a suite that cannot run into a failure.
	RequireEnv = "SMSCANCEL_REQUIRE_KAFKA"
	// NotRunEnv names a file that gets one line for every test that was
	// skipped, so that a run over many packages can say at its end what it
	// did not do.
	NotRunEnv = "SMSCANCEL_NOT_RUN_FILE"

	engineTimeout = 20 * time.Second
)

// Require skips the test when there is no container engine, and fails it when
// RequireEnv is 1. Every test that needs a broker calls it first.
func Require(tb testing.TB) {
	tb.Helper()
	ok, reason := Available()
	if ok {
		return
	}
	if os.Getenv(RequireEnv) == "1" {
		tb.Fatalf("real Kafka is required (%s=1): %s", RequireEnv, reason)
	}
	if err := noteNotRun(tb.Name(), reason); err != nil {
		tb.Fatalf("note a test that does not run: %v", err)
	}
	tb.Skipf("needs real Kafka: %s", reason)
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

// packageDir is where go test starts a package's tests, before one of them
// changes the directory.
var packageDir, _ = os.Getwd()

func noteNotRun(test, reason string) error {
	path := os.Getenv(NotRunEnv)
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s\t%s\t%s\n", packageDir, test, reason)
	if errClose := f.Close(); err == nil {
		err = errClose
	}
	return err
}
