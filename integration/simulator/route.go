package simulator

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// target is what a path names: a message or a batch of a sub-account.
type target struct {
	subAccount string
	id         string // as the client wrote it
	batch      bool
}

// parseTarget reads a path of the cancel API. The path is split before it is
// decoded, so an escaped slash stays inside its segment.
func parseTarget(u *url.URL) (target, bool) {
	segments := strings.Split(u.EscapedPath(), "/")
	for i, segment := range segments {
		decoded, err := url.PathUnescape(segment)
		if err != nil || (decoded == "" && i > 0) {
			return target{}, false
		}
		segments[i] = decoded
	}
	return matchTarget(segments)
}

// matchTarget matches ["", api, v1, subaccounts, ID, messages, UMID] and
// [..., messages, batch, ID].
func matchTarget(s []string) (target, bool) {
	if len(s) < 7 || s[0] != "" || s[1] != "api" || s[2] != "v1" || s[3] != "subaccounts" || s[5] != "messages" {
		return target{}, false
	}
	switch {
	case len(s) == 7:
		return target{subAccount: s[4], id: s[6]}, true
	case len(s) == 8 && s[6] == "batch":
		return target{subAccount: s[4], id: s[7], batch: true}, true
	}
	return target{}, false
}

// isAdmin tells a request of the admin endpoint from a call of the API.
func isAdmin(r *http.Request) bool { return strings.HasPrefix(r.URL.EscapedPath(), "/admin/") }

// subAccountID is the pattern of the API's reference.
var subAccountID = regexp.MustCompile(`^[A-Za-z0-9\-._&]{3,50}$`)

// uuidShape is how long each group of a UUID is. The API's own examples are no
// RFC versions, so nothing but the shape is checked.
var uuidShape = [...]int{8, 4, 4, 4, 12}

func isUUID(id string) bool {
	groups := strings.Split(id, "-")
	if len(groups) != len(uuidShape) {
		return false
	}
	for i, group := range groups {
		if len(group) != uuidShape[i] || strings.Trim(group, "0123456789abcdefABCDEF") != "" {
			return false
		}
	}
	return true
}
