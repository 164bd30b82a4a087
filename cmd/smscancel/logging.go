package main

import (
	"os"

	"github.com/mattn/go-isatty"
	"github.com/rs/zerolog"
)

// RunFlags are those of every command that runs until it is stopped.
type RunFlags struct {
	Config    string `group:"Run" placeholder:"FILE" help:"YAML file with these flags as keys."`
	LogFormat string `group:"Run" placeholder:"FORMAT" help:"console or json [console on a terminal]."`
	LogLevel  string `group:"Run" default:"info" placeholder:"LEVEL" help:"debug, info, warn or error [${default}]."`
}

func (f *RunFlags) check(mistakes *usageError) {
	if f.LogFormat != "" {
		mistakes.choose("log-format", f.LogFormat)
	}
	mistakes.choose("log-level", f.LogLevel)
}

var levels = map[string]zerolog.Level{
	"debug": zerolog.DebugLevel, "info": zerolog.InfoLevel, "warn": zerolog.WarnLevel, "error": zerolog.ErrorLevel,
}

// Log lines have the precision of the outcomes' times.
func init() { zerolog.TimeFieldFormat = "2006-01-02T15:04:05.000Z07:00" }

// logger writes to standard error as the flags say.
func (f *RunFlags) logger(env environment) zerolog.Logger {
	w, terminal := env.stderr, false
	if file, ok := w.(*os.File); ok {
		terminal = isatty.IsTerminal(file.Fd())
	}
	if f.LogFormat == "console" || f.LogFormat == "" && terminal {
		w = consoleWriter(w, terminal, env)
	}
	return zerolog.New(w).Level(levels[f.LogLevel]).With().Timestamp().Logger()
}
