package main

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"smscancel/cmd/smscancel/process"
	"smscancel/worker/api"
)

// WorkerFlags are the flags of `smscancel worker`.
type WorkerFlags struct {
	KafkaFlags     `embed:""`
	TopicFlags     `embed:""`
	SessionTimeout option[time.Duration] `group:"Kafka" default:"10s" placeholder:"DURATION" help:"A member is given up after this [${default}]."`

	APIURL            string                `name:"api-url" group:"API" default:"https://sms.8x8.com" placeholder:"URL" help:"Of the region [${default}]."`
	APIKeyFile        string                `name:"api-key-file" group:"API" placeholder:"PATH" help:"The key; or a directory, a file for each sub-account. Else SMSCANCEL_API_KEY."`
	APICAFile         string                `name:"api-ca-file" group:"API" placeholder:"FILE" help:"Authorities besides the system's (PEM)."`
	DefaultSubAccount string                `group:"API" placeholder:"ID" help:"Of requests that name none."`
	AttemptTimeout    option[time.Duration] `group:"API" default:"10s" placeholder:"DURATION" help:"Deadline of one call [${default}]."`

	Window         option[int]     `group:"Pace" default:"20000" placeholder:"N" help:"Records in hand at most [${default}]."`
	Concurrency    option[int]     `group:"Pace" default:"1024" placeholder:"N" help:"Calls at once [${default}]."`
	RateLimit      option[float64] `group:"Pace" default:"1800" placeholder:"N" help:"Calls/s of a sub-account; 0: any [${default}]."`
	RateLimitTotal option[float64] `group:"Pace" default:"3000" placeholder:"N" help:"Calls/s in all; 0: any [${default}]."`

	RetryInitial     option[time.Duration] `group:"Retry" default:"500ms" placeholder:"DURATION" help:"Longest first delay [${default}]."`
	RetryMaxInterval option[time.Duration] `group:"Retry" default:"30s" placeholder:"DURATION" help:"Longest delay [${default}]."`
	RetryMaxElapsed  option[time.Duration] `group:"Retry" default:"15m" placeholder:"DURATION" help:"Give up after this; 0 = never [${default}]."`
	RetryMaxAttempts option[int]           `group:"Retry" default:"0" placeholder:"N" help:"Give up after so many; 0 = never [${default}]."`
	RetryAfterMax    option[time.Duration] `group:"Retry" default:"5m" placeholder:"DURATION" help:"Longest Retry-After that is obeyed [${default}]."`
	AuthHold         option[time.Duration] `group:"Retry" default:"5m" placeholder:"DURATION" help:"Wait for a bad key to be mended [${default}]."`

	DedupeWindow option[time.Duration] `group:"Dedupe" default:"24h" placeholder:"DURATION" help:"Outcomes answer duplicates so long [${default}]."`

	RunFlags     `embed:""`
	HTTPAddr     string                `name:"http-addr" group:"Run" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Status and metrics [${default}]."`
	DrainTimeout option[time.Duration] `group:"Run" default:"25s" placeholder:"DURATION" help:"How long a stop may take [${default}]."`
}

const subAccountRule = "a sub-account is 3 to 50 of A-Z a-z 0-9 - . _ &"

var subAccountName = regexp.MustCompile(`^[A-Za-z0-9\-._&]{3,50}$`)

// config checks the flags and returns what the worker runs with. reportKey is
// told of keys that cannot be read again later.
func (f *WorkerFlags) config(env environment, mistakes *usageError, reportKey func(error)) process.Config {
	c := process.Config{
		Version: version, Cluster: f.cluster(mistakes), Group: f.Group, RequestTopics: f.RequestTopic, OutcomeTopic: f.OutcomeTopic,
		SessionTimeout: f.SessionTimeout.value, APIURL: f.APIURL, APICAFile: f.APICAFile, DefaultSubAccount: f.DefaultSubAccount,
		AttemptTimeout: f.AttemptTimeout.value, Window: f.Window.value, Concurrency: f.Concurrency.value,
		RetryInitial: f.RetryInitial.value, RetryMaxInterval: f.RetryMaxInterval.value, RetryMaxElapsed: f.RetryMaxElapsed.value,
		RetryMaxAttempts: f.RetryMaxAttempts.value, RetryAfterMax: f.RetryAfterMax.value, AuthHold: f.AuthHold.value, DedupeWindow: f.DedupeWindow.value,
		HTTPAddr: f.HTTPAddr, DrainTimeout: f.DrainTimeout.value,
	}
	f.checkTopics(mistakes)
	f.checkAPI(mistakes)
	f.checkNumbers(mistakes)
	f.RunFlags.check(mistakes)
	mistakes.want(f.HTTPAddr == "" || isListenAddr(f.HTTPAddr), "http-addr", f.HTTPAddr, "use HOST:PORT, or nothing for none")
	c.Keys = f.keys(env, mistakes, reportKey)
	c.Live = f.live(loadConfigFile(env), mistakes)
	return c
}

// live is what may change while the worker runs.
func (f *WorkerFlags) live(file *configFile, mistakes *usageError) process.Live {
	return process.Live{
		RateLimit: f.RateLimit.value, RateLimitTotal: f.RateLimitTotal.value,
		SubAccountRate: file.subAccountRates(mistakes), Held: file.held(mistakes),
	}
}

// isListenAddr tells whether one can listen at an address: the host may be
// empty (all), and the port 0 (any).
func isListenAddr(address string) bool {
	_, port, err := net.SplitHostPort(address)
	_, errPort := strconv.ParseUint(port, 10, 16)
	return err == nil && errPort == nil
}

func (f *WorkerFlags) checkAPI(mistakes *usageError) {
	if _, err := api.New(api.Config{BaseURL: f.APIURL, Keys: noKeys{}}); err != nil {
		reason := strings.TrimPrefix(strings.TrimPrefix(err.Error(), "API URL"), fmt.Sprintf(" %q", f.APIURL))
		mistakes.want(false, "api-url", withoutUser(f.APIURL), strings.TrimLeft(reason, ": "))
	}
	if _, err := api.New(api.Config{BaseURL: "https://localhost", Keys: noKeys{}, CAFile: f.APICAFile}); err != nil {
		mistakes.want(false, "api-ca-file", f.APICAFile, err.Error())
	}
	mistakes.want(f.DefaultSubAccount == "" || subAccountName.MatchString(f.DefaultSubAccount), "default-sub-account", f.DefaultSubAccount,
		subAccountRule)
}

// withoutUser is a URL without the part before an @, where a password may stand.
func withoutUser(text string) string {
	if i := strings.LastIndex(text, "@"); i >= 0 {
		return "[redacted]" + text[i:]
	}
	return text
}

type noKeys struct{}

// Key implements api.Keys.
func (noKeys) Key(string) (api.Key, error) { return api.Key{}, api.ErrNoKey }

func (f *WorkerFlags) checkNumbers(mistakes *usageError) {
	for _, d := range []struct {
		flag  string
		given option[time.Duration]
		zero  bool // is allowed
	}{
		{"session-timeout", f.SessionTimeout, false}, {"attempt-timeout", f.AttemptTimeout, false},
		{"retry-initial", f.RetryInitial, false}, {"retry-max-interval", f.RetryMaxInterval, false},
		{"retry-max-elapsed", f.RetryMaxElapsed, true}, {"retry-after-max", f.RetryAfterMax, false},
		{"auth-hold", f.AuthHold, true}, {"dedupe-window", f.DedupeWindow, false}, {"drain-timeout", f.DrainTimeout, false},
	} {
		if d.given.err == nil {
			mistakes.want(d.given.value > 0 || d.zero && d.given.value == 0, d.flag, d.given.value, "it must be "+atLeast(d.zero))
		}
	}
	mistakes.want(f.Window.err != nil || f.Window.value > 0, "window", f.Window.value, "it must be above 0")
	mistakes.want(f.Concurrency.err != nil || f.Concurrency.value > 0, "concurrency", f.Concurrency.value, "it must be above 0")
	mistakes.want(f.RetryMaxAttempts.value >= 0, "retry-max-attempts", f.RetryMaxAttempts.value, "it must be 0 (no limit) or more")
	f.checkRates(mistakes)
	mistakes.want(f.RetryInitial.err != nil || f.RetryMaxInterval.err != nil || f.RetryInitial.value <= f.RetryMaxInterval.value,
		"retry-initial", f.RetryInitial.value, fmt.Sprintf("it must not exceed --retry-max-interval (%s)", f.RetryMaxInterval.value))
}

func (f *WorkerFlags) checkRates(mistakes *usageError) {
	mistakes.want(f.RateLimit.value >= 0, "rate-limit", f.RateLimit.value, "it must be 0 (no limit) or more")
	mistakes.want(f.RateLimitTotal.value >= 0, "rate-limit-total", f.RateLimitTotal.value, "it must be 0 (no limit) or more")
}

func atLeast(zero bool) string {
	if zero {
		return "0 or more"
	}
	return "above 0"
}

// keys opens the source of the API key. Its content is never part of a message.
func (f *WorkerFlags) keys(env environment, mistakes *usageError, report func(error)) api.Keys {
	literal, set := env.lookup("SMSCANCEL_API_KEY")
	var keys api.Keys
	var err error
	switch {
	case f.APIKeyFile != "" && set:
		mistakes.want(false, "api-key-file", f.APIKeyFile, "SMSCANCEL_API_KEY is set too: use one of them")
	case f.APIKeyFile != "":
		keys, err = api.OpenKeys(f.APIKeyFile, report)
		mistakes.want(err == nil, "api-key-file", f.APIKeyFile, fmt.Sprint(err))
	case set:
		keys, err = api.LiteralKey(literal)
		if err != nil {
			*mistakes = append(*mistakes, fmt.Sprintf("SMSCANCEL_API_KEY: %v", err))
		}
	default:
		mistakes.want(false, "api-key-file", "", "name a file with the API key, or set SMSCANCEL_API_KEY")
	}
	return keys
}
