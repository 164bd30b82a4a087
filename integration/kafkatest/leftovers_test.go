package kafkatest

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

func TestLeftoversOfADeadProcessAreRemovedAndOthersStay(t *testing.T) {
	Require(t)
	docker, err := engine()
	if err != nil {
		t.Fatal(err)
	}
	dead := createOwned(t, docker, owner(deadProcess(t)))
	mine := createOwned(t, docker, owner(os.Getpid()))
	elsewhere := createOwned(t, docker, "another-host/1")
	nobodys := createOwned(t, docker, "")

	if err := sweep(within(t), docker); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, id string
		stays    bool
	}{
		{"of a dead process", dead, false},
		{"of this process", mine, true},
		{"of another host, new", elsewhere, true},
		{"without our label", nobodys, true},
	} {
		if exists(t, docker, c.id) != c.stays {
			t.Errorf("container %s: exists %t, want %t", c.name, !c.stays, c.stays)
		}
	}
}

func TestOwnerDecidesWhatIsALeftover(t *testing.T) {
	now := time.Now()
	old := now.Add(-2 * foreignAge)
	dead := owner(deadProcess(t))
	for _, c := range []struct {
		label   string
		created time.Time
		want    bool
	}{
		{owner(os.Getpid()), old, false}, // a long run is not a leftover
		{dead, now, true},
		{"another-host/1", now, false},
		{"another-host/1", old, true},
		{"nonsense", now, false},
		{"nonsense", old, true},
	} {
		if got := isLeftover(c.label, c.created); got != c.want {
			t.Errorf("isLeftover(%q, %v ago) = %t, want %t", c.label, now.Sub(c.created), got, c.want)
		}
	}
}

// deadProcess is the id of a process that has ended.
func deadProcess(t *testing.T) int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^$")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

// createOwned makes a container that is never started; an empty label is none.
func createOwned(t *testing.T, docker *client.Client, label string) string {
	t.Helper()
	imageName, err := image(within(t), docker)
	if err != nil {
		t.Fatal(err)
	}
	config := &container.Config{Image: imageName}
	if label != "" {
		config.Labels = map[string]string{ownerLabel: label}
	}
	created, err := docker.ContainerCreate(within(t), client.ContainerCreateOptions{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeContainer(context.Background(), docker, created.ID); err != nil { // t's context has ended
			t.Error(err)
		}
	})
	return created.ID
}

func exists(t *testing.T, docker *client.Client, id string) bool {
	t.Helper()
	_, err := docker.ContainerInspect(within(t), id, client.ContainerInspectOptions{})
	if err != nil && !cerrdefs.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}
