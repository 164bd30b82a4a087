package api

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"smscancel/worker"
)

// errBadID refuses an id that could leave its path segment. Requests are
// validated long before; this is the last line of defence.
var errBadID = errors.New("not an id that can stand in the API's path")

// parseBase checks the API's address. Errors never show the part before an @,
// where a password may stand.
func parseBase(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("API URL cannot be parsed: want https://HOST[:PORT]")
	}
	if u.User != nil {
		return nil, errors.New("API URL must not carry a user or password: keys come from files or the environment")
	}
	switch {
	case u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("API URL %q has no host: want https://HOST[:PORT]", raw)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("API URL %q must not have a query or fragment", raw)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return nil, fmt.Errorf("API URL %q: http is allowed to loopback only, the key would travel in the clear: use https", raw)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("API URL %q: scheme must be https (http to loopback only)", raw)
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// target is the address of what is to be cancelled. Ids hold unreserved
// characters and & only, which stand in a path as they are; everything else,
// escaped or not, is refused.
func (c *Client) target(t worker.Target) (*url.URL, error) {
	if !isSegment(t.SubAccountID) {
		return nil, fmt.Errorf("sub-account %q: %w", t.SubAccountID, errBadID)
	}
	if !isSegment(t.ID) {
		return nil, fmt.Errorf("id %q: %w", t.ID, errBadID)
	}
	path := "/api/v1/subaccounts/" + t.SubAccountID + "/messages/"
	if t.Batch {
		path += "batch/"
	}
	path += t.ID
	u := *c.base
	u.Path += path
	if u.RawPath != "" {
		u.RawPath += path
	}
	return &u, nil
}

func isSegment(s string) bool {
	if s == "" || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		if !isSegmentByte(s[i]) {
			return false
		}
	}
	return true
}

func isSegmentByte(b byte) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	}
	return strings.IndexByte("-._~&", b) >= 0
}
