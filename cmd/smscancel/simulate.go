package main

import (
	"context"
	"fmt"
	"strings"

	"smscancel/integration/simulator"
)

// SimulateCmd is `smscancel simulate`.
type SimulateCmd struct {
	Listen         string      `default:"127.0.0.1:8088" placeholder:"HOST:PORT" help:"Where the API listens [${default}]."`
	AdminListen    string      `placeholder:"HOST:PORT" help:"Where /admin/ listens; default: with the API."`
	TLS            bool        `name:"tls" help:"HTTPS with a certificate made at the start."`
	CertFile       string      `placeholder:"FILE" help:"HTTPS with this certificate (PEM)."`
	KeyFile        string      `placeholder:"FILE" help:"Its private key (PEM)."`
	KeysFile       string      `placeholder:"FILE" help:"API keys that are accepted, one a line: KEY [SUB-ACCOUNT ...]; default: any."`
	Scenario       string      `placeholder:"FILE" help:"What happens to which message (YAML)."`
	RateLimit      option[int] `default:"1800" placeholder:"N" help:"Calls per second and sub-account; 0 = no limit [${default}]."`
	RateLimitTotal option[int] `default:"3000" placeholder:"N" help:"Calls per second in all; 0 = no limit [${default}]."`
	Fault          []string    `placeholder:"NAME=RATE" help:"Probability of a fault, e.g. 503=0.01, hang-before=0.001; repeatable."`
	RetryAfter     string      `placeholder:"VALUE" help:"Retry-After of 429 and 503 faults: seconds, or date+3s."`
	Latency        string      `placeholder:"TIME" help:"5ms, 5ms..20ms, or median=5ms,p99=80ms."`
	Seed           option[int] `default:"0" placeholder:"N" help:"Makes faults repeatable."`
	MaxCalls       option[int] `default:"1000000" placeholder:"N" help:"Calls that the ledger at /admin/calls keeps; 0 = all [${default}]."`
	Config         string      `placeholder:"FILE" help:"YAML file with these flags as keys."`
}

// Help is shown above the flags.
func (*SimulateCmd) Help() string {
	return `Prints its addresses, and runs until Ctrl-C. /admin/calls lists every call.

Examples:
  smscancel simulate --latency median=50ms,p99=1s --fault 503=0.01
  smscancel simulate --tls --keys-file keys.txt --scenario scenario.yaml`
}

// Run serves the simulator until ctx ends.
func (c *SimulateCmd) Run(ctx context.Context, env environment) error {
	var mistakes usageError
	options := c.options(&mistakes)
	if len(mistakes) > 0 {
		return mistakes
	}
	sim, err := simulator.New(options)
	if err != nil {
		return usageError{err.Error()}
	}
	server, err := sim.Start(context.WithoutCancel(ctx), simulator.ServerOptions{
		Addr: c.Listen, AdminAddr: c.AdminListen, TLS: c.TLS, CertFile: c.CertFile, KeyFile: c.KeyFile,
	})
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Fprintf(env.stdout, "api    %s\nadmin  %s\n", server.URL(), server.AdminURL())
	if c.TLS {
		fmt.Fprintf(env.stdout, "%s", server.CAPEM())
	}
	<-ctx.Done()
	return nil
}

// check notes the mistakes that can be found although others were found before.
func (c *SimulateCmd) check(mistakes *usageError) { c.options(mistakes) }

func (c *SimulateCmd) options(mistakes *usageError) simulator.Options {
	o := simulator.Options{MaxCalls: c.MaxCalls.value, Limits: simulator.Limits{PerSubAccount: c.RateLimit.value, Total: c.RateLimitTotal.value}}
	c.checkFlags(mistakes)
	var err error
	if c.Scenario != "" {
		o.Scenario, err = simulator.LoadScenario(c.Scenario)
		mistakes.want(err == nil, "scenario", c.Scenario, fmt.Sprint(err))
	}
	if c.KeysFile != "" {
		o.Keys, err = simulator.LoadKeys(c.KeysFile)
		mistakes.want(err == nil, "keys-file", c.KeysFile, fmt.Sprint(err))
	}
	o.Faults = simulator.Faults{Rates: map[string]float64{}, RetryAfter: c.RetryAfter, Seed: uint64(c.Seed.value)}
	for _, fault := range c.Fault {
		name, text, _ := strings.Cut(fault, "=")
		rate, err := parseValue[float64](text)
		mistakes.want(err == nil, "fault", fault, "write NAME=RATE, e.g. 503=0.01")
		o.Faults.Rates[name] = rate
	}
	if c.Latency != "" {
		err = o.Faults.Latency.UnmarshalText([]byte(c.Latency))
		mistakes.want(err == nil, "latency", c.Latency, fmt.Sprint(err))
	}
	if len(o.Faults.Rates) == 0 {
		o.Faults.Rates = nil
	}
	return o
}

func (c *SimulateCmd) checkFlags(mistakes *usageError) {
	mistakes.want(isListenAddr(c.Listen), "listen", c.Listen, "use HOST:PORT")
	mistakes.want(c.AdminListen == "" || isListenAddr(c.AdminListen), "admin-listen", c.AdminListen, "use HOST:PORT")
	mistakes.want(c.CertFile != "" || c.KeyFile == "", "cert-file", "", "it is needed with --key-file")
	mistakes.want(c.KeyFile != "" || c.CertFile == "", "key-file", "", "it is needed with --cert-file")
	mistakes.want(c.RateLimit.value >= 0, "rate-limit", c.RateLimit.value, "it must be 0 (no limit) or more")
	mistakes.want(c.RateLimitTotal.value >= 0, "rate-limit-total", c.RateLimitTotal.value, "it must be 0 (no limit) or more")
	mistakes.want(c.MaxCalls.value >= 0, "max-calls", c.MaxCalls.value, "it must be 0 (all) or more")
}
