package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// A test process that is killed cleans nothing up. So every container and
// network carries the process that owns it, and the next run removes what
// belongs to a process that is gone.
const (
	ownerLabel = "smscancel.kafkatest.owner" // HOST/PID

	// A process of another host (or container) cannot be looked up; what it
	// left is removed when it is older than any run.
	foreignAge = 12 * time.Hour
)

// Labels are those of all that this process makes in the engine.
func Labels() map[string]string {
	return map[string]string{ownerLabel: owner(os.Getpid())}
}

func owner(pid int) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return host + "/" + strconv.Itoa(pid)
}

// removeLeftovers tells of what could not be removed, and goes on: it does not
// concern this test.
func removeLeftovers(tb testing.TB) {
	tb.Helper()
	if err := sweepOnce(); err != nil {
		tb.Logf("leftovers of earlier runs: %v", err)
	}
}

// sweepOnce removes leftovers before the first cluster of this process.
var sweepOnce = sync.OnceValue(func() error {
	docker, err := engine()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return sweep(ctx, docker)
})

func sweep(ctx context.Context, docker *client.Client) error {
	ours := make(client.Filters).Add("label", ownerLabel)
	containers, err := docker.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	if err != nil {
		return fmt.Errorf("list leftover containers: %w", err)
	}
	var errs []error
	for _, c := range containers.Items {
		if isLeftover(c.Labels[ownerLabel], time.Unix(c.Created, 0)) {
			errs = append(errs, removeContainer(ctx, docker, c.ID))
		}
	}
	networks, err := docker.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("list leftover networks: %w", err))...)
	}
	for _, n := range networks.Items {
		if isLeftover(n.Labels[ownerLabel], n.Created) {
			errs = append(errs, removeNetwork(ctx, docker, n.ID))
		}
	}
	volumes, err := docker.VolumeList(ctx, client.VolumeListOptions{Filters: ours})
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("list leftover volumes: %w", err))...)
	}
	for _, v := range volumes.Items {
		created, _ := time.Parse(time.RFC3339, v.CreatedAt) // unreadable: long ago
		if isLeftover(v.Labels[ownerLabel], created) {
			errs = append(errs, removeVolume(ctx, docker, v.Name))
		}
	}
	return errors.Join(errs...)
}

// isLeftover judges by the owner: gone means leftover, alive means in use.
func isLeftover(label string, created time.Time) bool {
	host, pidText, _ := strings.Cut(label, "/")
	pid, err := strconv.Atoi(pidText)
	if err != nil || owner(pid) != host+"/"+pidText {
		return time.Since(created) > foreignAge
	}
	return !isAlive(pid)
}

func isAlive(pid int) bool {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = process.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}

// removeContainer kills and removes a container with its volumes, in whatever
// state it is. One that is gone, or that another process is removing, is fine.
func removeContainer(ctx context.Context, docker *client.Client, id string) error {
	_, err := docker.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err == nil || cerrdefs.IsNotFound(err) || cerrdefs.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("remove container %.12s: %w", id, err)
}

func removeNetwork(ctx context.Context, docker *client.Client, id string) error {
	_, err := docker.NetworkRemove(ctx, id, client.NetworkRemoveOptions{})
	if err == nil || cerrdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("remove network %.12s: %w", id, err)
}

func removeVolume(ctx context.Context, docker *client.Client, name string) error {
	_, err := docker.VolumeRemove(ctx, name, client.VolumeRemoveOptions{Force: true})
	if err == nil || cerrdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("remove volume %.12s: %w", name, err)
}
