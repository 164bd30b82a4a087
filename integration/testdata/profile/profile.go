// Package main here is compiled into the worker with go build -overlay where a
// benchmark wants its CPU profile: a file for each process in SMSCANCEL_PROFILE,
// from its start to SIGTERM.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"syscall"
)

func init() {
	file, err := os.Create(filepath.Join(os.Getenv("SMSCANCEL_PROFILE"), fmt.Sprintf("worker-%d.pprof", os.Getpid())))
	if err == nil {
		err = pprof.StartCPUProfile(file)
	}
	if err != nil {
		panic(err)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	go func() {
		<-end
		pprof.StopCPUProfile()
		file.Close()
	}()
}
