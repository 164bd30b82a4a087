package deployment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"sigs.k8s.io/yaml"

	"smscancel/integration/kafkatest"
	"smscancel/integration/notrun"
)

// Promise: the commands of deploy/README.md bring everything up, submit a campaign,
// wait for its outcomes, and take all down again with nothing left behind.
func TestTheComposeFileRunsACampaign(t *testing.T) {
	c := newComposition(t)
	var said string
	for _, command := range readmeCommands(t) {
		said += c.run(command)
		switch {
		case strings.HasSuffix(command, " up -d"):
			c.checkContainers()
			c.checkTopics()
		case strings.HasSuffix(command, " --verify"):
			c.checkStatusPage()
			c.checkRestart()
		}
	}
	for _, want := range []string{
		"submitted 308 requests to sms.cancel.requests; 8 rows were left out\n",
		"\ntotal          308\n",
		"308 requests, 308 outcomes: 0 lost, 0 pending, 0 second, 0 foreign\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no command says %q: %s", want, said)
		}
	}
	c.checkNothingIsLeft()
}

// readmeCommands are those of the section about compose, without comments. The
// image of Kafka is made by `make test` or by nobody: see kafkatest.
func readmeCommands(t *testing.T) (commands []string) {
	t.Helper()
	text, err := os.ReadFile("../../deploy/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## See it run on one machine, with compose\n")
	_, block, fenced := strings.Cut(section, "\n```sh\n")
	if !found || !fenced {
		t.Fatal("deploy/README.md shows no commands for compose")
	}
	block, _, _ = strings.Cut(block, "\n```\n")
	for line := range strings.Lines(block) {
		command, _, _ := strings.Cut(line, "#")
		if command = strings.TrimSpace(command); command != "" && !strings.HasPrefix(command, "make kafka-image") {
			commands = append(commands, command)
		}
	}
	return commands
}

const composeOption = "-f deploy/compose.yaml"

// composition is a compose project of its own: another name, other ports, images
// that nobody else uses.
type composition struct {
	t           *testing.T
	name, image string
	kafka       string // the address for programs of this machine
	files       string // the compose file, and what the test adds to it
	env         []string
}

func newComposition(t *testing.T) *composition {
	kafkaImage := kafkatest.Image(t)
	if _, err := exec.LookPath("docker"); err != nil {
		notrun.Missing(t, "the docker command", err.Error())
	}
	port, err := kafkatest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("smscancel-test-%d", os.Getpid())
	c := &composition{t: t, name: name, image: name + ":latest", kafka: "127.0.0.1:" + strconv.Itoa(port)}
	c.files = composeOption + " -f " + labelled(t)
	c.env = append(os.Environ(),
		"DOCKER_CONFIG="+installCompose(t),
		"COMPOSE_PROJECT_NAME="+c.name,
		"SMSCANCEL_IMAGE="+c.image,
		"SMSCANCEL_KAFKA_IMAGE="+kafkaImage,
		"SMSCANCEL_KAFKA_PORT="+strconv.Itoa(port),
		"SMSCANCEL_STATUS_PORT=0", // any
	)
	t.Cleanup(c.remove)
	return c
}

// labelled adds the labels by which the next run finds what a killed one has left.
func labelled(t *testing.T) string {
	project := loadCompose(t, nil)
	labels := map[string]any{"labels": kafkatest.Labels()}
	added := map[string]map[string]any{"services": {}, "volumes": {}, "networks": {"default": labels}}
	for name := range project.Services {
		added["services"][name] = labels
	}
	for name := range project.Volumes {
		added["volumes"][name] = labels
	}
	text, err := yaml.Marshal(added)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "labels.yaml")
	write(t, path, string(text))
	return path
}

// installCompose builds compose and returns a configuration of the docker command
// that has it, whatever is installed here.
func installCompose(t *testing.T) string {
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "cli-plugins", "docker-compose"), "github.com/docker/compose/v5/cmd")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build compose: %v: %s", err, out)
	}
	return dir
}

// run does what a person would do at the top of the repository. A campaign with
// failed outcomes ends with 1.
func (c *composition) run(command string) string {
	c.t.Helper()
	want := 0
	if strings.Contains(command, " submit ") {
		want = 1
	}
	command = strings.NewReplacer("smscancel:latest", c.image, composeOption, c.files).Replace(command)
	out, messages, code := c.sh(c.t.Context(), command)
	if code != want {
		c.t.Fatalf("%s: exit code %d, want %d: %s%s", command, code, want, out, messages)
	}
	return out
}

func (c *composition) sh(ctx context.Context, command string) (out, messages string, code int) {
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(ctx, "bash", "-c", command)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = "../..", c.env, &stdout, &stderr
	err := cmd.Run()
	if exit, ended := errors.AsType[*exec.ExitError](err); ended {
		return stdout.String(), stderr.String(), exit.ExitCode()
	}
	if err != nil {
		c.t.Fatalf("%s: %v", command, err)
	}
	return stdout.String(), stderr.String(), 0
}

// remove is for a test that ended early; one that passed has left only its image.
func (c *composition) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	compose := "docker compose " + c.files + " "
	if c.t.Failed() {
		state, logs, _ := c.sh(ctx, compose+"ps --all; "+compose+"logs --no-color --tail 50 2>&1")
		c.t.Log(state, logs)
	}
	if _, messages, code := c.sh(ctx, compose+"--profile '*' down --volumes --remove-orphans; docker image rm "+c.image); code != 0 {
		c.t.Errorf("remove what the test made: %s", messages)
	}
}

// checkContainers: what the file asks for is what runs, also by Kafka's image.
func (c *composition) checkContainers() {
	c.t.Helper()
	ours := "docker ps --all --quiet --filter label=com.docker.compose.project=" + c.name
	for name, value := range kafkatest.Labels() {
		ours += " --filter label=" + name + "=" + value
	}
	out := c.run("docker inspect --format '{{.Name}} {{.Config.User}} {{.HostConfig.ReadonlyRootfs}}' $(" + ours + ")")
	for line := range strings.Lines(out) {
		field := strings.Fields(line)
		if len(field) != 3 || field[1] == "root" || strings.HasPrefix(field[1], "0") || field[2] != "true" {
			c.t.Errorf("name, user, read-only: %s", line)
		}
	}
	if n := strings.Count(out, "\n"); n != 4 {
		c.t.Errorf("%d containers: %s", n, out)
	}
}

// checkTopics asks as another program of this machine would.
func (c *composition) checkTopics() {
	c.t.Helper()
	client := &kafka.Client{Addr: kafka.TCP(c.kafka)}
	res, err := client.Metadata(c.t.Context(), &kafka.MetadataRequest{Topics: []string{"sms.cancel.requests", "sms.cancel.outcomes"}})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, topic := range res.Topics {
		if topic.Error != nil || len(topic.Partitions) != 12 {
			c.t.Errorf("topic %s: %v, %d partitions", topic.Name, topic.Error, len(topic.Partitions))
		}
	}
}

func (c *composition) checkStatusPage() {
	c.t.Helper()
	address := strings.TrimSpace(c.run("docker compose " + composeOption + " port simulator 8080"))
	awaitReady(c.t, address)
	answer, err := http.Get("http://" + address + "/")
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(page), "<title>") {
		c.t.Errorf("status page: %v, %s: %s", err, answer.Status, page)
	}
}

// checkRestart: the worker follows the simulator, whose network it shares.
func (c *composition) checkRestart() {
	c.t.Helper()
	started := "docker inspect --format '{{.State.StartedAt}}' " + c.name + "-worker-1"
	before := c.run(started)
	c.run("docker compose " + composeOption + " restart simulator")
	if c.run(started) == before {
		c.t.Error("a restart of the simulator leaves the worker in a network that is gone")
	}
}

func (c *composition) checkNothingIsLeft() {
	c.t.Helper()
	filter := " --quiet --filter label=com.docker.compose.project=" + c.name
	if left := c.run("docker ps --all" + filter + "; docker network ls" + filter + "; docker volume ls" + filter); left != "" {
		c.t.Errorf("left behind: %s", left)
	}
}
