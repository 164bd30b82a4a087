package main

import (
	"context"

	"github.com/rs/zerolog"

	"smscancel/cmd/smscancel/process"
)

// WorkerCmd is `smscancel worker`.
type WorkerCmd struct {
	WorkerFlags `embed:""`
}

// Help is shown above the flags.
func (*WorkerCmd) Help() string {
	return `Exit codes: 0 stopped; 1 failed; 2 wrong usage or configuration.

Examples:
  smscancel worker --brokers kafka1:9092 --api-key-file /etc/smscancel/key
  smscancel worker --config worker.yaml --log-level debug`
}

// Run runs a worker until it is told to stop.
func (c *WorkerCmd) Run(ctx context.Context, env environment) error {
	var mistakes usageError
	log := zerolog.Nop()
	cfg := c.config(env, &mistakes, func(err error) { reportKeys(&log, err) })
	if len(mistakes) > 0 {
		return mistakes
	}
	log = c.logger(env)
	cfg.Reload = reloadFunc(env, &log, cfg.Live)
	return runTraced(ctx, env, log, cfg, func(cfg process.Config) error {
		worker, err := process.New(cfg, log)
		if err != nil {
			return err
		}
		return worker.Run(ctx, func(addr string) { log.Info().Str("addr", addr).Msg("status server") })
	})
}

// check notes the mistakes that can be found although others were found before.
func (c *WorkerCmd) check(mistakes *usageError, env environment) {
	c.config(env, mistakes, func(error) {})
}

// reportKeys says once that API keys cannot be read, and once that they can again.
func reportKeys(log *zerolog.Logger, err error) {
	if err != nil {
		log.Error().Err(err).Msg("API keys cannot be read again, keeping the old ones")
		return
	}
	log.Info().Msg("API keys can be read again")
}
