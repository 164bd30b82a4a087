package simulator

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
)

// Key is an API key that the simulator accepts.
type Key struct {
	Value       string
	SubAccounts []string // the sub-accounts it belongs to; none = all
}

// String leaves the key itself out.
func (k Key) String() string { return "key[redacted]" }

// GoString leaves the key itself out.
func (k Key) GoString() string { return k.String() }

// LoadKeys reads keys from a file, one a line: the key, then the sub-accounts
// it is limited to, all separated by blanks. Empty lines and lines that begin
// with # are skipped.
func LoadKeys(path string) ([]Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read API keys: %w", err)
	}
	defer func() { _ = f.Close() }()
	keys, err := ParseKeys(f)
	if err != nil {
		return nil, fmt.Errorf("read API keys from %s: %w", path, err)
	}
	return keys, nil
}

// ParseKeys reads keys in the form that LoadKeys describes.
func ParseKeys(r io.Reader) ([]Key, error) {
	var keys []Key
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		keys = append(keys, Key{Value: fields[0], SubAccounts: fields[1:]})
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return keys, nil
}

// keyring finds a key by its value. An empty ring accepts any key.
type keyring map[string][]Key

func newKeyring(keys []Key) keyring {
	ring := make(keyring, len(keys))
	for _, k := range keys {
		ring[k.Value] = append(ring[k.Value], k)
	}
	return ring
}

// permission is what a call's key may do.
type permission int

const (
	unknownKey permission = iota // 401 with code 1200
	foreignKey                   // 401 with code 1001: of another account
	permitted
)

func (ring keyring) check(r *http.Request, subAccount string) permission {
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || value == "" {
		return unknownKey
	}
	if len(ring) == 0 {
		return permitted
	}
	keys, known := ring[value]
	if !known {
		return unknownKey
	}
	for _, k := range keys {
		if len(k.SubAccounts) == 0 || slices.Contains(k.SubAccounts, subAccount) {
			return permitted
		}
	}
	return foreignKey
}
