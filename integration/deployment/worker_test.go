package deployment

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	corev1 "k8s.io/api/core/v1"

	"smscancel/integration/broker"
	"smscancel/integration/simulator"
)

// Promise: the worker takes the configuration that the chart writes, with the
// Secrets where the chart mounts them, and becomes ready.
func TestTheWorkerRunsOnTheChartsConfiguration(t *testing.T) {
	root := t.TempDir() // stands for /etc/smscancel
	api := startAPI(t, root)
	text := `
kafka: {brokers: ['` + startBroker(t) + `'], requestTopics: [urgent, bulk], outcomeTopic: outcomes}
api: {url: '` + api.URL() + `', key: {secretName: sms, key: ""}, caSecret: {secretName: ca}}
settings: {dedupe-window: 168h, window: 50000, log-format: json}
live: {rate-limit: 100, sub-accounts: {acme_shop: {rate-limit: 20}}, paused: {campaigns: [autumn-sale]}, withdrawn-campaigns: [spring-sale]}
`
	var config corev1.ConfigMap
	decode(t, render(t, text)["ConfigMap"], &config)
	write(t, filepath.Join(root, "config", "smscancel.yaml"), strings.ReplaceAll(config.Data["smscancel.yaml"], "/etc/smscancel", root))

	addr := startWorker(t, "worker", "--config", filepath.Join(root, "config", "smscancel.yaml"), "--http-addr", "127.0.0.1:0")
	awaitReady(t, addr)
}

func startBroker(t *testing.T) string {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	client := &kafka.Client{Addr: kafka.TCP(b.Addr())}
	var topics []broker.Topic
	for _, name := range []string{"urgent", "bulk", "outcomes"} {
		topics = append(topics, broker.Topic{Name: name, Partitions: 2, Settings: map[string]string{"retention.ms": "1209600000"}})
	}
	if err := broker.CreateTopics(t.Context(), client, 1, topics...); err != nil {
		t.Fatal(err)
	}
	return b.Addr()
}

func startAPI(t *testing.T, root string) *simulator.Server {
	sim, err := simulator.New(simulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	api, err := sim.Start(context.Background(), simulator.ServerOptions{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	write(t, filepath.Join(root, "api-ca", "ca.crt"), string(api.CAPEM()))
	write(t, filepath.Join(root, "api-key", "acme_shop"), "key-of-a-shop\n")
	return api
}

// startWorker runs the program and returns the address of its status server.
func startWorker(t *testing.T, args ...string) string {
	binary := filepath.Join(t.TempDir(), "smscancel")
	build := exec.Command("go", "build", "-o", binary, "./cmd/smscancel")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the context has ended it
	lines, said := bufio.NewScanner(log), ""
	for lines.Scan() {
		said += lines.Text() + "\n"
		var line struct{ Message, Addr string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Message == "status server" {
			go func() { // it must not block on a full pipe
				for lines.Scan() {
				}
			}()
			return line.Addr
		}
	}
	t.Fatalf("it ended: %s", said)
	return ""
}

// awaitReady asks until the worker is ready, or the test's time is over.
func awaitReady(t *testing.T, addr string) {
	for range time.Tick(50 * time.Millisecond) {
		answer, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return
		}
	}
}

func write(t *testing.T, path, content string) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
