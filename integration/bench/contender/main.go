// Command contender is one contender of the benchmark in a process of its own: it
// reads a bench.Spec from standard input and writes a bench.Report to standard
// output. File descriptor 3, if it is there, is for progress.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"

	"smscancel/integration/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "contender:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var spec bench.Spec
	if err := json.NewDecoder(os.Stdin).Decode(&spec); err != nil {
		return fmt.Errorf("read the spec: %w", err)
	}
	var progress io.ReadWriter = nobody{}
	if spec.Progress {
		progress = os.NewFile(3, "progress")
	}
	report, err := spec.Run(ctx, progress)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// nobody listens.
type nobody struct{}

func (nobody) Write(p []byte) (int, error) { return len(p), nil }
func (nobody) Read([]byte) (int, error)    { return 0, io.EOF }
