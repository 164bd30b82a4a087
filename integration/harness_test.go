package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"smscancel/integration/checker"
	"smscancel/integration/kafkatest"
	"smscancel/integration/planted"
	"smscancel/integration/simulator"
	"smscancel/worker/status"
)

func TestMain(m *testing.M) {
	kafkatest.Main(m)
	if dir, err := buildDir(); err == nil {
		os.RemoveAll(dir) //nolint:errcheck // it lies among temporary files
	}
}

// patience is how long a test waits for what must happen, on any machine.
var errNotYet = errors.New("not yet")

const patience = 4 * time.Minute

// secret is the API key in these tests. It must appear in no output.
const secret = "canary-4f1d0c77-key"

// buildDir is where the binaries of a test run lie.
var buildDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "smscancel-e2e") })

// binary is the worker with the race detector, where that can be had.
var binary = sync.OnceValues(func() (string, error) {
	path, err := build("smscancel-race", "cmd/smscancel", "1", "-race")
	if err != nil { // the race detector needs a C compiler
		return plainBinary()
	}
	return path, nil
})

// plainBinary is the worker as it is shipped, static, for tests that measure
// memory and speed. With SMSCANCEL_PROFILE it writes its CPU profile into that folder.
var plainBinary = sync.OnceValues(func() (string, error) {
	var flags []string
	if os.Getenv("SMSCANCEL_PROFILE") != "" {
		overlay, err := profiled()
		if err != nil {
			return "", err
		}
		flags = []string{"-overlay", overlay}
	}
	return build("smscancel", "cmd/smscancel", "0", flags...)
})

// profiled adds testdata/profile to the command.
func profiled() (overlay string, err error) {
	root, err := planted.Root()
	if err != nil {
		return "", err
	}
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	content, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(root, "cmd/smscancel/profile.go"): filepath.Join(root, "integration/testdata/profile/profile.go")}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "profile.json")
	return overlay, os.WriteFile(overlay, content, 0o600)
}

func build(name, command, cgo string, flags ...string) (string, error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, "smscancel/"+command)...)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
}

// world is a cluster, an API and topics of one test's own.
type world struct {
	t        testing.TB
	brokers  []string
	cluster  *kafkatest.Cluster
	create   createTopic
	sim      *simulator.Simulator
	api      *simulator.Server
	requests string   // topic
	lower    []string // further request topics, of less and less priority
	outcomes string   // topic
	group    string
	dir      string
	ca       string // file with the API's CA
	keyFile  string
	parts    int  // of the request topic
	n        int  // partitions of the outcome topic
	plain    bool // workers run without the race detector

	deleted  []*kgo.Record // requests that were handled and then deleted with their topic or by retention
	replicas []*replica    // all that were started
	setup    checker.Setup // what the run allows, and with which flags the replicas ran
}

func newWorld(t testing.TB, cluster *kafkatest.Cluster, partitions int, options simulator.Options) *world {
	t.Helper()
	w := newWorldOn(t, cluster.Bootstrap(), cluster.CreateTopic, partitions, options)
	w.cluster = cluster
	return w
}

// createTopic makes a topic on a world's brokers.
type createTopic func(name string, partitions int, settings map[string]string)

// newWorldOn makes a world of which the brokers may be anybody's.
func newWorldOn(t testing.TB, brokers []string, create createTopic, partitions int, options simulator.Options) *world {
	t.Helper()
	name := strings.ToLower(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, t.Name()))
	w := &world{
		t: t, brokers: brokers, create: create, dir: t.TempDir(), parts: partitions, n: partitions,
		requests: name + ".requests", outcomes: name + ".outcomes", group: name, setup: checker.Setup{Canary: secret},
	}
	options.Keys = []simulator.Key{{Value: secret}}
	var err error
	if w.sim, err = simulator.New(options); err != nil {
		t.Fatal(err)
	}
	if w.api, err = w.sim.Start(context.Background(), simulator.ServerOptions{TLS: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.api.Close)
	w.ca, w.keyFile = filepath.Join(w.dir, "ca.pem"), filepath.Join(w.dir, "key")
	for path, content := range map[string]string{w.ca: string(w.api.CAPEM()), w.keyFile: secret + "\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	create(w.requests, partitions, nil)
	create(w.outcomes, partitions, outcomeSettings())
	return w
}

// lowerLane makes another request topic, of less priority than all so far.
func (w *world) lowerLane() (topic string) {
	w.t.Helper()
	topic = fmt.Sprintf("%s-%d", w.requests, len(w.lower)+1)
	w.create(topic, w.parts, nil)
	w.lower = append(w.lower, topic)
	return topic
}

// outcomeSettings are those that deploy/README.md asks for.
func outcomeSettings() map[string]string {
	return map[string]string{"retention.ms": "1209600000", "message.timestamp.type": "LogAppendTime"}
}

// replica is one running worker process.
type replica struct {
	t       testing.TB
	name    string
	cmd     *exec.Cmd
	log     string // file
	addr    string // of its status server
	done    chan struct{}
	exit    error // valid once done is closed
	group   string
	outputs []checker.Output

	wasPaused bool
}

// start runs a worker process and waits until it listens.
func (w *world) start(name string, flags ...string) *replica {
	w.t.Helper()
	r := w.spawn(name, flags...)
	w.eventually("the status server of "+name, func() error {
		if !r.listens() {
			return fmt.Errorf("no address in the log")
		}
		return nil
	})
	return r
}

// spawn runs a worker process. Further flags may replace those given here.
func (w *world) spawn(name string, flags ...string) *replica {
	w.t.Helper()
	shipped := binary
	if w.plain {
		shipped = plainBinary
	}
	path, err := shipped()
	if err != nil {
		w.t.Fatalf("build the worker: %v", err)
	}
	r := &replica{t: w.t, name: name, log: filepath.Join(w.dir, fmt.Sprintf("%s-%d.log", name, time.Now().UnixNano())), done: make(chan struct{})}
	logFile, err := os.Create(r.log)
	if err != nil {
		w.t.Fatal(err)
	}
	level := "debug" // tells the checker of every attempt
	if w.plain {
		level = "info"
	}
	args := append([]string{"worker", "--brokers", strings.Join(w.brokers, ","), "--group", w.group,
		"--request-topic", w.requests, "--outcome-topic", w.outcomes, "--api-url", w.api.URL(), "--api-ca-file", w.ca,
		"--api-key-file", w.keyFile, "--http-addr", "127.0.0.1:0", "--log-format", "json", "--log-level", level, "--session-timeout", "6s",
		"--rate-limit", "0", "--rate-limit-total", "0"}, flags...)
	for _, topic := range w.lower {
		args = append(args, "--request-topic", topic)
	}
	w.note(r, args)
	r.cmd = exec.Command(path, args...)
	r.cmd.Stdout, r.cmd.Stderr = logFile, logFile
	if err := r.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		r.exit = r.cmd.Wait()
		logFile.Close()
		close(r.done)
	}()
	w.t.Cleanup(func() { r.end() })
	return r
}

// listens tells whether the process serves its status yet.
func (r *replica) listens() bool {
	for _, line := range r.lines() {
		if line["message"] == "status server" {
			r.addr, _ = line["addr"].(string)
			return true
		}
	}
	return false
}

// end kills the process if it still runs, and shows its log if the test failed.
func (r *replica) end() {
	r.cmd.Process.Signal(syscall.SIGCONT)
	r.cmd.Process.Kill()
	<-r.done
	content, _ := os.ReadFile(r.log)
	if dir := os.Getenv("SMSCANCEL_KEEP_LOGS"); dir != "" {
		name := strings.ReplaceAll(r.t.Name(), "/", "-") + "-" + filepath.Base(r.log)
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			r.t.Error(err)
		}
	}
	if bytes.Contains(content, []byte(secret)) {
		r.t.Errorf("the log of %s contains the API key", r.name)
	}
	if bytes.Contains(content, []byte("DATA RACE")) {
		r.t.Errorf("%s has a data race:\n%s", r.name, content)
	}
	if r.t.Failed() {
		r.t.Logf("the end of the log of %s:\n%s", r.name, content[max(0, len(content)-6000):])
	}
}

// lines are the log so far.
func (r *replica) lines() []map[string]any {
	content, _ := os.ReadFile(r.log)
	var lines []map[string]any
	for _, raw := range bytes.Split(content, []byte("\n")) {
		var line map[string]any
		if json.Unmarshal(raw, &line) == nil {
			lines = append(lines, line)
		}
	}
	return lines
}

// logged counts the log lines that contain a text.
func (r *replica) logged(text string) int {
	content, _ := os.ReadFile(r.log)
	return strings.Count(string(content), text)
}

func (r *replica) signal(s syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatalf("%v to %s: %v", s, r.name, err)
	}
	r.wasPaused = r.wasPaused || s == syscall.SIGSTOP
}

// kill ends the process as a crash would.
func (r *replica) kill() {
	r.t.Helper()
	r.signal(syscall.SIGKILL)
	<-r.done
}

// stop asks the process to end and expects it to do so in good order.
func (r *replica) stop() {
	r.t.Helper()
	r.keepOutputs()
	r.signal(syscall.SIGTERM)
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Fatalf("%s does not end after SIGTERM", r.name)
	}
	if r.exit != nil {
		r.t.Errorf("%s ended after SIGTERM with %v", r.name, r.exit)
	}
}

// status asks the process what it is doing.
func (r *replica) status() (status.Status, error) {
	var s status.Status
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.Get("http://" + r.addr + "/api/status")
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	return s, json.NewDecoder(res.Body).Decode(&s)
}

// running is how many partitions the process works on.
func (r *replica) running() (int, error) {
	s, err := r.status()
	n := 0
	for _, p := range s.Partitions {
		if p.State == "running" {
			n++
		}
	}
	return n, err
}

// waitRunning waits until the replicas together run every partition, each at
// least one.
func (w *world) waitRunning(replicas ...*replica) {
	w.t.Helper()
	w.eventually("all partitions to run", func() error {
		total := 0
		for _, r := range replicas {
			n, err := r.running()
			if err != nil {
				return err
			}
			if n == 0 {
				return fmt.Errorf("%s runs none", r.name)
			}
			total += n
		}
		if all := w.parts * (1 + len(w.lower)); total != all {
			return fmt.Errorf("%d of %d run", total, all)
		}
		return nil
	})
}

// eventually waits until check has nothing to object to any more.
func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %s for %s: %v", patience, what, err)
		}
		<-tick.C
	}
}

// publish sends requests the way every producer of the topic must.
func (w *world) publish(requests ...map[string]any) {
	w.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(w.brokers...))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	records := make([]*kgo.Record, len(requests))
	for i, r := range requests {
		value, _ := json.Marshal(r)
		id, _ := r["umid"].(string)
		records[i] = &kgo.Record{Topic: w.requests, Key: []byte(strings.ToLower(id)), Value: value, Headers: traced()}
	}
	w.produce(client, records...)
}

// umid makes the n-th UMID of a test.
func umid(n int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", n, n) }

// batchOf makes n requests; every tenth repeats an earlier message.
func batchOf(from, n int) []map[string]any {
	requests := make([]map[string]any, n)
	for i := range requests {
		id := from + i
		if i%10 == 9 {
			id = from + i/2
		}
		requests[i] = map[string]any{"umid": umid(id), "subAccountId": "acme_shop"}
	}
	return requests
}

// distinct is how many messages the requests are about.
func distinct(requests []map[string]any) int {
	ids := map[any]bool{}
	for _, r := range requests {
		ids[r["umid"]] = true
	}
	return len(ids)
}
