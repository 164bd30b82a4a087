package checker

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
)

// checkSecrets looks for the API key in everything that the worker wrote.
func (c *check) checkSecrets() {
	if c.run.Setup.Canary == "" {
		return
	}
	forms := disguises(c.run.Setup.Canary)
	for i := range c.run.Outcomes {
		rec := &c.run.Outcomes[i]
		if form := contains(forms, rec.Key, rec.Value); form != "" {
			c.violated(Secret, c.outcomes[i].request, "the outcome at %s contains the API key%s", placeOf(rec), form)
		}
		for _, h := range rec.Headers {
			if form := contains(forms, []byte(h.Key), h.Value); form != "" {
				c.violated(Secret, c.outcomes[i].request, "header %q of the outcome at %s contains the API key%s", h.Key, placeOf(rec), form)
			}
		}
	}
	for i := range c.run.Commits {
		if form := contains(forms, []byte(c.run.Commits[i].Metadata)); form != "" {
			c.violated(Secret, none, "the commit of %s contains the API key%s", placeOfCommit(&c.run.Commits[i]), form)
		}
	}
	for _, l := range c.run.Logs {
		c.checkText(forms, "the log of "+l.Name, l.Text)
	}
	for _, o := range c.run.Outputs {
		c.checkText(forms, o.Name, o.Text)
	}
}

func (c *check) checkText(forms []disguise, name string, text []byte) {
	if form := contains(forms, text); form != "" {
		c.violated(Secret, none, "%s contains the API key%s", name, form)
	}
}

// disguise is a form that a secret may have in a text.
type disguise struct {
	text []byte
	name string
}

// disguises are the secret itself, percent-encoded, in hex, and in base64,
// wherever in a longer text it may have stood.
func disguises(secret string) []disguise {
	forms := []disguise{{[]byte(secret), ""}}
	add := func(text, name string) {
		for _, f := range forms {
			if string(f.text) == text {
				return
			}
		}
		forms = append(forms, disguise{[]byte(text), name})
	}
	add(url.QueryEscape(secret), ", percent-encoded")
	add(url.PathEscape(secret), ", percent-encoded")
	escaped := ""
	for i := range len(secret) {
		escaped += fmt.Sprintf("%%%02x", secret[i])
	}
	add(escaped, ", percent-encoded")
	add(strings.ToUpper(escaped), ", percent-encoded")
	add(hex.EncodeToString([]byte(secret)), ", in hex")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			// Characters that depend on what stands before and behind are left out.
			text := encoding.EncodeToString(append(make([]byte, before), secret...))
			whole := (len(secret) + before) / 3 * 4
			add(text[(before*8+5)/6:whole], ", in base64")
		}
	}
	return forms
}

func contains(forms []disguise, texts ...[]byte) string {
	for _, text := range texts {
		for _, form := range forms {
			if bytes.Contains(text, form.text) {
				return form.name + "."
			}
		}
	}
	return ""
}
