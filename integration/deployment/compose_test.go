package deployment

import (
	"slices"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const composeFile = "../../deploy/compose.yaml"

// Promise: the compose file says what it means to compose's own reader; nothing in
// it is reachable from other machines, runs as root or can write to its image; and
// the environment names every image.
func TestTheComposeFileIsValidAndHardened(t *testing.T) {
	env := map[string]string{"SMSCANCEL_IMAGE": "mine:1", "SMSCANCEL_KAFKA_IMAGE": "mine:2"}
	project := loadCompose(t, env)
	if names := project.ServiceNames(); !slices.Equal(names, []string{"cli", "kafka", "simulator", "topics", "worker"}) {
		t.Errorf("services %v", names)
	}
	for name, s := range project.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: read_only %v, cap_drop %v, security_opt %v", name, s.ReadOnly, s.CapDrop, s.SecurityOpt)
		}
		if want := map[bool]string{true: "mine:2", false: "mine:1"}[name == "kafka"]; s.Image != want {
			t.Errorf("%s: image %s, want %s", name, s.Image, want)
		}
		if s.User != "65532:65532" && name != "kafka" { // whose image has its own: see below
			t.Errorf("%s: user %q", name, s.User)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is published on %q", name, port.Published, port.HostIP)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind && !v.ReadOnly {
				t.Errorf("%s: can write to %s", name, v.Source)
			}
		}
	}
	if image := loadCompose(t, nil).Services["kafka"].Image; image != "apache/kafka:4.3.1" {
		t.Errorf("Kafka's image is %s where nothing else is named", image)
	}
}

func loadCompose(t *testing.T, env map[string]string) *types.Project {
	t.Helper()
	var variables []string
	for name, value := range env {
		variables = append(variables, name+"="+value)
	}
	options, err := cli.NewProjectOptions([]string{composeFile}, cli.WithEnv(variables), cli.WithProfiles([]string{"*"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}
