package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"smscancel/cmd/smscancel/checkup"
)

// CheckCmd is `smscancel check`.
type CheckCmd struct {
	KafkaFlags `embed:""`
	TopicFlags `embed:""`

	APIURL            string                `name:"api-url" group:"API" default:"https://sms.8x8.com" placeholder:"URL" help:"Of the region [${default}]."`
	APIKeyFile        string                `name:"api-key-file" group:"API" placeholder:"PATH" help:"The key, or a directory. Else SMSCANCEL_API_KEY."`
	APICAFile         string                `name:"api-ca-file" group:"API" placeholder:"FILE" help:"Authorities besides the system's (PEM)."`
	DefaultSubAccount string                `group:"API" placeholder:"ID" help:"Its key is tried if --sub-account is not given."`
	SubAccount        []string              `group:"API" placeholder:"ID" help:"Sub-accounts whose keys are tried [those of a key directory]."`
	DedupeWindow      option[time.Duration] `default:"24h" placeholder:"DURATION" help:"That of the workers, which outcomes must outlast [${default}]."`
	Timeout           option[time.Duration] `default:"10s" placeholder:"DURATION" help:"How long one step may take [${default}]."`
	Config            string                `placeholder:"FILE" help:"YAML file with these flags as keys: the worker's."`
}

// Help is shown above the flags.
func (*CheckCmd) Help() string {
	return `One line for each step, with what to do. It disturbs no running worker; the API
is asked to cancel a message of a random UMID.
Exit codes: 0 no step failed; 1 one did; 2 wrong usage or configuration.

Examples:
  smscancel check --config worker.yaml
  smscancel check --brokers kafka1:9092 --api-key-file key --sub-account acme`
}

// Run checks everything that a worker needs.
func (c *CheckCmd) Run(ctx context.Context, env environment) error {
	var mistakes usageError
	cfg := c.values(&mistakes, env)
	if len(mistakes) > 0 {
		return mistakes
	}
	look := &checkup.Checkup{Config: cfg, Report: func(f checkup.Finding) { showFinding(env.stdout, f) }}
	failures := look.Run(ctx)
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted: not everything was checked")
	}
	if failures > 0 {
		return fmt.Errorf("%d checks failed", failures)
	}
	return nil
}

func showFinding(w io.Writer, f checkup.Finding) {
	text := f.Text
	if f.Remedy != "" {
		text += " -> " + f.Remedy
	}
	fmt.Fprintln(w, oneLine(fmt.Sprintf("%-8s %s: %s", f.State, f.Step, text)))
}

// check notes the mistakes that can be found although others were found before.
func (c *CheckCmd) check(mistakes *usageError, env environment) { c.values(mistakes, env) }

func (c *CheckCmd) values(mistakes *usageError, env environment) checkup.Config {
	cfg := checkup.Config{
		Cluster: c.cluster(mistakes), Group: c.Group, RequestTopics: c.RequestTopic, OutcomeTopic: c.OutcomeTopic,
		DedupeWindow: c.DedupeWindow.value, APIURL: c.APIURL, APICAFile: c.APICAFile, Timeout: c.Timeout.value,
	}
	c.checkTopics(mistakes)
	worker := WorkerFlags{APIURL: c.APIURL, APIKeyFile: c.APIKeyFile, APICAFile: c.APICAFile, DefaultSubAccount: c.DefaultSubAccount}
	worker.checkAPI(mistakes)
	cfg.Keys = worker.keys(env, mistakes, func(error) {})
	for _, sub := range c.SubAccount {
		mistakes.want(subAccountName.MatchString(sub), "sub-account", sub, subAccountRule)
	}
	for _, d := range []struct {
		flag  string
		given option[time.Duration]
	}{{"dedupe-window", c.DedupeWindow}, {"timeout", c.Timeout}} {
		mistakes.want(d.given.err != nil || d.given.value > 0, d.flag, d.given.value, "it must be above 0")
	}
	cfg.SubAccounts = c.subAccounts()
	return cfg
}

// subAccounts are those whose keys are tried: as told, else the default, else
// those that have a file in the directory of keys.
func (c *CheckCmd) subAccounts() []string {
	if len(c.SubAccount) > 0 {
		return c.SubAccount
	}
	if c.DefaultSubAccount != "" {
		return []string{c.DefaultSubAccount}
	}
	files, err := os.ReadDir(c.APIKeyFile)
	if err != nil {
		return nil // no directory
	}
	var all []string
	for _, f := range files {
		name, err := url.PathUnescape(f.Name())
		if err == nil && !strings.HasPrefix(name, "..") && subAccountName.MatchString(name) {
			all = append(all, name)
		}
	}
	return all
}
