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
// Secrets where the chart mounts them, becomes ready, and its outcomes are what
// the AsyncAPI document says.
func TestTheWorkerRunsOnTheChartsConfiguration(t *testing.T) {
	root := t.TempDir() // stands for /etc/smscancel
	api, brokers := startAPI(t, root), startBroker(t)
	text := `
kafka: {brokers: ['` + brokers + `'], requestTopics: [urgent, bulk], outcomeTopic: outcomes}
api: {url: '` + api.URL() + `', key: {secretName: sms, key: ""}, caSecret: {secretName: ca}}
settings: {dedupe-window: 168h, window: 50000, log-format: json}
live: {rate-limit: 100, sub-accounts: {acme_shop: {rate-limit: 20}}, paused: {campaigns: [autumn-sale]}, withdrawn-campaigns: [spring-sale]}
`
	var config corev1.ConfigMap
	decode(t, render(t, text)["ConfigMap"], &config)
	write(t, filepath.Join(root, "config", "smscancel.yaml"), strings.ReplaceAll(config.Data["smscancel.yaml"], "/etc/smscancel", root))

	addr := startWorker(t, "worker", "--config", filepath.Join(root, "config", "smscancel.yaml"), "--http-addr", "127.0.0.1:0")
	awaitReady(t, addr)
	checkOutcomes(t, brokers)
}

// checkOutcomes sends a valid request, an invalid one and one of a withdrawn
// campaign.
func checkOutcomes(t *testing.T, brokers string) {
	const umid = "fbb239f1-2eb1-ea11-afa9-00155db6eaf4"
	trace := []kafka.Header{{Key: "traceparent", Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}}
	requests := []kafka.Message{
		{Key: []byte(umid), Value: []byte(`{"umid":"` + umid + `","subAccountId":"acme_shop"}`), Headers: trace},
		{Key: []byte("x"), Value: []byte(`{"umid":"x","subAccountId":"acme_shop","campaignId":"spring-sale"}`)},
		{Value: []byte(`{`)},
	}
	w := &kafka.Writer{Addr: kafka.TCP(brokers), Topic: "bulk", Balancer: kafka.Murmur2Balancer{Consistent: true}, RequiredAcks: kafka.RequireAll}
	defer w.Close()
	if err := w.WriteMessages(t.Context(), requests...); err != nil {
		t.Fatal(err)
	}
	schema := headerSchema(t, "outcome")
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{brokers}, Topic: "outcomes", MaxWait: 50 * time.Millisecond})
	defer r.Close()
	for status := map[string]bool{}; len(status) < len(requests); {
		record, err := r.ReadMessage(t.Context())
		if err != nil {
			t.Fatalf("outcomes so far %v: %v", status, err)
		}
		if len(record.Headers) == 0 { // a control marker, which kafka-go shows
			continue
		}
		headers := map[string]any{}
		for _, h := range record.Headers {
			headers[h.Key] = string(h.Value)
		}
		if err := schema.Validate(headers); err != nil {
			t.Errorf("headers %v: %v", headers, err)
		}
		var outcome struct{ Status, OutcomeID string }
		if err := json.Unmarshal(record.Value, &outcome); err != nil || outcome.OutcomeID != headers["ce_id"] {
			t.Errorf("%v: %s, ce_id %v", err, record.Value, headers["ce_id"])
		}
		if _, traced := headers["traceparent"]; traced != (string(record.Key) == umid) {
			t.Errorf("headers %v of key %s", headers, record.Key)
		}
		status[outcome.Status] = true // cancelled, failed, rejected
	}
}

func startBroker(t *testing.T) string {
	b, err := broker.Start(broker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	client := &kafka.Client{Addr: kafka.TCP(b.Addr())}
	if err := broker.CreateTopics(t.Context(), client, 1, broker.Topic{Name: "urgent", Partitions: 2}, broker.Topic{Name: "bulk", Partitions: 2},
		broker.Topic{Name: "outcomes", Partitions: 1, Settings: map[string]string{"retention.ms": "1209600000"}}); err != nil {
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
