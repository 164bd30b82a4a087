package checkup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"

	"github.com/google/uuid"

	"smscancel/worker"
	"smscancel/worker/api"
)

// api makes the steps from the API's name to the key of each sub-account.
func (c *Checkup) api(ctx context.Context) {
	base, err := url.Parse(c.APIURL)
	if err != nil {
		return // was refused before
	}
	port := base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[base.Scheme]
	}
	address := net.JoinHostPort(base.Hostname(), port)
	if !c.reach(ctx, "API", address) {
		c.skip("API key", "the API cannot be reached", "")
		return
	}
	if base.Scheme == "https" && !c.handshake(ctx, "API", address, c.apiTLS(base.Hostname()), "--api-ca-file", "this port does not speak TLS: look at --api-url") {
		c.skip("API key", "it is not sent to somebody who cannot prove to be the API", "")
		return
	}
	if len(c.SubAccounts) == 0 {
		c.skip("API key", "no sub-account is known to try it with", "name one with --sub-account")
		return
	}
	client, err := api.New(api.Config{BaseURL: c.APIURL, CAFile: c.APICAFile, Keys: c.Keys, AttemptTimeout: c.Timeout, UserAgent: "smscancel-check"})
	if err != nil {
		c.fail("API key", err.Error(), "")
		return
	}
	defer client.Close()
	for _, sub := range c.SubAccounts {
		c.key(ctx, client, sub)
	}
}

func (c *Checkup) apiTLS(host string) *tls.Config {
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS13}
	if content, err := os.ReadFile(c.APICAFile); c.APICAFile != "" && err == nil { // was read before
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
		config.RootCAs.AppendCertsFromPEM(content)
	}
	return config
}

// key asks to cancel a message that there is not: the API says so only to those
// who might cancel one that there is.
func (c *Checkup) key(ctx context.Context, client *api.Client, sub string) {
	step := "API key of " + sub
	target := worker.Target{SubAccountID: sub, ID: uuid.NewString()}
	v := client.Cancel(ctx, worker.Call{Target: target})
	if v.Err == nil {
		c.ok(step, "accepted; the API took a random UMID for a message, as its simulator does")
		return
	}
	text := describe(v.Err)
	switch e := v.Err; {
	case v.NoCall:
		c.fail(step, text, "there is no key for this sub-account: --api-key-file")
	case e.Kind == worker.KindNotFound && e.Code != nil && *e.Code == 1300:
		c.ok(step, "404, code 1300: key, sub-account and route are right")
	case e.Kind == worker.KindUnauthorized:
		c.fail(step, text, "the API does not know this key: replace it; an account lives in one region, see --api-url")
	case e.Kind == worker.KindForbidden:
		c.fail(step, text, "the key is not for this sub-account")
	case e.Kind == worker.KindNotFound, e.Kind == worker.KindBadResponse:
		c.fail(step, text, "that is no answer of this API: look at --api-url, and whether a proxy is in between")
	case e.Kind == worker.KindRateLimited:
		c.warn(step, text, "the limit is used up just now: lower --rate-limit, or try again later")
	case e.Kind == worker.KindUpgradeRequired:
		c.fail(step, text, "something in between speaks an older TLS to the API")
	default:
		c.fail(step, text, "the API does not work just now, or not for this request: try again, then ask 8x8")
	}
}

func describe(e *worker.Error) string {
	text := string(e.Kind)
	if e.HTTPStatus != 0 {
		text += fmt.Sprintf(", HTTP %d", e.HTTPStatus)
	}
	if e.Code != nil {
		text += fmt.Sprintf(", code %d", *e.Code)
	}
	if e.ErrorID != "" {
		text += ", errorId " + e.ErrorID
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}
