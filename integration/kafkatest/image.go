package kafkatest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

const (
	// ImageEnv names the image to run instead of those below. It must keep the
	// contract of apache/kafka: KAFKA_* variables become properties.
	ImageEnv = "SMSCANCEL_KAFKA_IMAGE"

	kafkaVersion  = "4.3.1"
	officialImage = "apache/kafka:" + kafkaVersion
	localImage    = "smscancel/kafka:" + kafkaVersion // deploy/kafka-image

	pullTimeout = 5 * time.Minute
)

// Image is what the brokers run, for a test that starts its own. It is present.
// What such a test makes carries Labels.
func Image(tb testing.TB) string {
	tb.Helper()
	Require(tb)
	removeLeftovers(tb)
	docker, err := engine()
	if err != nil {
		tb.Fatal(err)
	}
	name, err := image(tb.Context(), docker)
	if err != nil {
		tb.Fatal(err)
	}
	return name
}

// image chooses what to run: what the caller names, else what is here, else
// what a registry gives.
func image(ctx context.Context, docker *client.Client) (string, error) {
	if named := os.Getenv(ImageEnv); named != "" {
		return named, nil
	}
	for _, name := range []string{officialImage, localImage} {
		_, err := docker.ImageInspect(ctx, name)
		if err == nil {
			return name, nil
		}
		if !cerrdefs.IsNotFound(err) {
			return "", fmt.Errorf("look for image %s: %w", name, err)
		}
	}
	if err := pull(ctx, docker, officialImage); err != nil {
		return "", fmt.Errorf("no Kafka image: neither %s nor %s is here and the first cannot be pulled; "+
			"run `make kafka-image` or set %s: %w", officialImage, localImage, ImageEnv, err)
	}
	return officialImage, nil
}

func pull(ctx context.Context, docker *client.Client, name string) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	progress, err := docker.ImagePull(ctx, name, client.ImagePullOptions{})
	if err != nil {
		return fmt.Errorf("pull %s: %w", name, err)
	}
	if err := progress.Wait(ctx); err != nil {
		return fmt.Errorf("pull %s: %w", name, err)
	}
	return nil
}
