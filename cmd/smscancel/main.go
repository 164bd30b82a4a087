// Command smscancel cancels scheduled SMS messages of 8x8: it consumes cancel
// requests from Kafka, calls the API, and publishes one outcome for each.
//
// This package only turns flags into values and wires the others together, a
// file for each command.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from now on a second signal ends the process at once
	os.Exit(run(ctx, environment{args: os.Args[1:], lookup: os.LookupEnv, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}))
}

// environment is what a process is started with.
type environment struct {
	args   []string
	lookup func(name string) (string, bool)
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	config *[]byte // what the configuration file holds; nil = it is to be read
}

// withConfig reads the configuration file, if there is one: once, since a pipe
// gives its content only once, and what was judged is what must be in force.
func (e environment) withConfig() environment {
	if path := configPath(e); path != "" && e.config == nil {
		if content, err := readConfigFile(path); err == nil {
			e.config = &content
		}
	}
	return e
}

// content is that of the configuration file.
func (e environment) content(path string) ([]byte, error) {
	if e.config != nil {
		return *e.config, nil
	}
	return readConfigFile(path)
}

// run executes one command and returns the exit code.
func run(ctx context.Context, env environment) int {
	// net/http gives it the bytes that an API server sends unasked, with whatever
	// they echo, the key included. Our own log goes another way.
	log.SetOutput(io.Discard)
	if len(env.args) > 0 && env.args[0] == askedByShell {
		return complete(env)
	}
	env = env.withConfig()
	command, err := parse(env)
	if err == nil && command != nil {
		err = command.Run(ctx, env)
	}
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		for _, mistake := range usage {
			fmt.Fprintln(env.stderr, "smscancel:", mistake)
		}
		return exitUsage
	}
	fmt.Fprintln(env.stderr, "smscancel:", err)
	return exitFailed
}
