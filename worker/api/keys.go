package api

import (
	"errors"
	"fmt"
	"strings"

	"smscancel/worker"
)

// ErrNoKey means that no call can be made for a sub-account. It counts as a
// bad key: the sub-account is held until there is one.
var ErrNoKey = errors.New("no API key for this sub-account")

// Keys gives the API key for a sub-account; an error wraps ErrNoKey.
type Keys interface {
	Key(subAccountID string) (Key, error)
}

// Key is an API key. It prints as [redacted], and stands behind a pointer so
// that a dump of whatever holds it shows an address at most.
type Key struct{ secret *string }

const redacted = "[redacted]"

// ParseKey makes a key of a file's or variable's content. One line ending is
// cut off. Errors never show the content.
func ParseKey(content string) (Key, error) {
	content = strings.TrimSuffix(strings.TrimSuffix(content, "\n"), "\r")
	if content == "" {
		return Key{}, errors.New("API key is empty")
	}
	for i := range len(content) {
		if content[i] <= ' ' || content[i] > '~' {
			return Key{}, fmt.Errorf("API key has a space, line break or other character that no key has, at byte %d", i+1)
		}
	}
	return Key{&content}, nil
}

// String keeps the key out of logs.
func (Key) String() string { return redacted }

// GoString keeps the key out of dumps.
func (Key) GoString() string { return redacted }

// MarshalText keeps the key out of JSON and YAML.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

func (k Key) reveal() string {
	if k.secret == nil {
		return ""
	}
	return *k.secret
}

// scrub takes the key out of an error, where a server or proxy that echoes the
// request may have put it. Keys too short to be real would hit plain words.
func (k Key) scrub(e *worker.Error) {
	secret := k.reveal()
	if e == nil || len(secret) < 8 {
		return
	}
	for _, s := range []*string{&e.Message, &e.ErrorID, &e.Timestamp} {
		*s = strings.ReplaceAll(*s, secret, redacted)
	}
}

// LiteralKey is one key for all sub-accounts, from the environment.
func LiteralKey(content string) (Keys, error) {
	key, err := ParseKey(content)
	if err != nil {
		return nil, err
	}
	return literalKey{key}, nil
}

type literalKey struct{ key Key }

// Key implements Keys.
func (l literalKey) Key(string) (Key, error) { return l.key, nil }
