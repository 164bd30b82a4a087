package kafkatest

import (
	"context"
	"errors"
	"fmt"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
)

const (
	diskPath = "/disk" // where a broker's own volume is mounted
	ballast  = diskPath + "/ballast"
)

// disk is a volume of a broker's own, in memory and limited in size. A keeper
// has it mounted, too: otherwise it would be gone with a stopped broker.
type disk struct {
	volume string
	keeper testcontainers.Container
}

// FillDisk writes to broker i's disk until nothing fits any more. Kafka gives
// up a log directory that it cannot write to, and ends with its last one.
func (c *Cluster) FillDisk(i int) {
	c.tb.Helper()
	// dd ends with an error when the disk is full, and the last block is cut.
	if _, err := c.onDisk(i, "dd if=/dev/zero of="+ballast+" bs=64k 2>/dev/null; test -s "+ballast); err != nil {
		c.tb.Fatalf("fill the disk of broker %d: %v", i, err)
	}
}

// FreeDisk gives the space back that FillDisk took.
func (c *Cluster) FreeDisk(i int) {
	c.tb.Helper()
	if _, err := c.onDisk(i, "rm -f "+ballast); err != nil {
		c.tb.Fatalf("free the disk of broker %d: %v", i, err)
	}
}

// WaitDown waits until broker i has ended by itself.
func (c *Cluster) WaitDown(i int) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := poll(ctx, func(ctx context.Context) error {
		found, err := c.docker.ContainerInspect(ctx, c.brokers[i].container.GetContainerID(), client.ContainerInspectOptions{})
		if err == nil && found.Container.State.Running {
			err = errors.New("it runs")
		}
		return err
	})
	if err != nil {
		c.tb.Fatalf("wait for the end of broker %d: %v", i, err)
	}
}

// onDisk runs a shell command in the keeper of broker i's disk.
func (c *Cluster) onDisk(i int, script string) (string, error) {
	if c.brokers[i].disk == nil {
		return "", errors.New("it was started without a disk of its own")
	}
	return execIn(c.brokers[i].disk.keeper, "sh", "-c", script)
}

// newDisk makes a volume and starts its keeper.
func (c *Cluster) newDisk(ctx context.Context, imageName string, mib int) (*disk, error) {
	made, err := c.docker.VolumeCreate(ctx, client.VolumeCreateOptions{
		Driver: "local", Labels: Labels(),
		// The images' user has the id 1000.
		DriverOpts: map[string]string{"type": "tmpfs", "device": "tmpfs", "o": fmt.Sprintf("size=%dm,uid=1000,gid=1000", mib)},
	})
	if err != nil {
		return nil, fmt.Errorf("create a volume: %w", err)
	}
	d := &disk{volume: made.Volume.Name}
	d.keeper, err = testcontainers.Run(ctx, imageName, testcontainers.WithLabels(Labels()),
		testcontainers.WithHostConfigModifier(d.keep), testcontainers.WithCmd("sleep", "1000000"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the keeper of a volume: %w", err), c.removeDisk(ctx, d))
	}
	return d, nil
}

func (d *disk) mount(host *container.HostConfig) {
	host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeVolume, Source: d.volume, Target: diskPath})
}

// keep mounts the volume in a container that has no network.
func (d *disk) keep(host *container.HostConfig) {
	d.mount(host)
	host.NetworkMode = "none"
	host.PortBindings, host.PublishAllPorts = nil, false
}

func (c *Cluster) removeDisk(ctx context.Context, d *disk) error {
	if d == nil {
		return nil
	}
	var err error
	if d.keeper != nil {
		err = removeContainer(ctx, c.docker, d.keeper.GetContainerID())
	}
	return errors.Join(err, removeVolume(ctx, c.docker, d.volume))
}
