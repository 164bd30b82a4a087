package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// Set by the linker in a release build.
var (
	version = "dev"
	commit  = ""
)

// VersionCmd is `smscancel version`.
type VersionCmd struct{}

// Run prints version, commit and Go version.
func (*VersionCmd) Run(_ context.Context, env environment) error {
	_, err := fmt.Fprintf(env.stdout, "smscancel %s\ncommit %s\n%s %s/%s\n", version, commitID(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

func commitID() string {
	if commit != "" {
		return commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}
