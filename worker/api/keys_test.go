package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = log.New(io.Discard, "", 0)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func keyOf(t *testing.T, keys Keys, sub string) string {
	t.Helper()
	k, err := keys.Key(sub)
	if errors.Is(err, ErrNoKey) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return k.reveal()
}

// after lets virtual time pass, so that keys are read again.
func after(d time.Duration) { <-time.After(d) }

func TestAKeyIsOneLineOfPrintableCharacters(t *testing.T) {
	for content, want := range map[string]string{"abc": "abc", "abc\n": "abc", "abc\r\n": "abc", "a.b-c/d+e=": "a.b-c/d+e="} {
		if k, err := ParseKey(content); err != nil || k.reveal() != want {
			t.Errorf("%q: %q, %v", content, k.reveal(), err)
		}
	}
	for _, content := range []string{"", "\n", "\r\n", " ", "hunter2\n\n", "hunter2\nb", "Bearer hunter2", "hunter2\x00", "hunter2\t", "hunter2\u00e9"} {
		if _, err := ParseKey(content); err == nil {
			t.Errorf("%q accepted", content)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error shows the key: %v", err)
		}
	}
}

func TestKeysNeverPrint(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	write(t, path, testKey)
	files, err := OpenKeys(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := literal(t, testKey)
	key, _ := all.Key("")
	client := newTestClient(t, Config{BaseURL: "http://127.0.0.1", Keys: files})
	for _, v := range []any{key, &key, all, files, client, *files.keys.Load(), Config{Keys: all}, []Key{key}, struct{ k Key }{key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			text := fmt.Sprintf(verb, v)
			if strings.Contains(text, testKey) || strings.Contains(text, fmt.Sprintf("%x", testKey)) {
				t.Errorf("%s of %T shows the key: %s", verb, v, text)
			}
		}
		if text, err := json.Marshal(v); err == nil && strings.Contains(string(text), testKey) {
			t.Errorf("JSON of %T shows the key: %s", v, text)
		}
	}
}

func TestOneFileServesAllAndIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "key")
		write(t, path, "first-key\n")
		var reports []error
		keys, err := OpenKeys(path, func(err error) { reports = append(reports, err) })
		if err != nil {
			t.Fatal(err)
		}
		expect := func(want string, reported int) {
			t.Helper()
			if got := keyOf(t, keys, "any"); got != want || len(reports) != reported {
				t.Errorf("key %q with %d reports, want %q with %d: %v", got, len(reports), want, reported, reports)
			}
		}
		write(t, path, "other-key\n") // same size
		after(keyCheckInterval / 2)
		expect("first-key", 0) // at most once a second
		after(keyCheckInterval)
		expect("other-key", 0)
		write(t, path, "early-key")
		expect("other-key", 0) // and again
		write(t, path, "")
		for range 3 {
			after(2 * keyCheckInterval)
			expect("other-key", 1) // kept, and said once
		}
		os.Remove(path)
		after(2 * keyCheckInterval)
		expect("other-key", 2) // another problem
		write(t, path, "third-key")
		after(2 * keyCheckInterval)
		expect("third-key", 3)
		if reports[0] == nil || strings.Contains(reports[0].Error(), "other-key") || reports[2] != nil {
			t.Errorf("reports %v", reports)
		}
	})
}

// mount makes dir look like a Secret that the kubelet mounted: files are links
// through ..data, which is swapped in one step.
func mount(t *testing.T, dir, version string, files map[string]string) {
	t.Helper()
	real := filepath.Join(dir, ".."+version)
	if err := os.Mkdir(real, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		write(t, filepath.Join(real, name), content)
		os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)) // may stand already
	}
	if err := os.Symlink(".."+version, filepath.Join(dir, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
}

func TestAMountedSecretHasAKeyPerSubAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		mount(t, dir, "v1", map[string]string{"acme": "acme-key-1\n", "a%26b": "amp-key-1", "gone": "gone-key"})
		write(t, filepath.Join(dir, "..own"), "kubelet's-own")
		if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
			t.Fatal(err)
		}
		keys, err := OpenKeys(dir, func(err error) { t.Errorf("reported %v", err) })
		if err != nil {
			t.Fatal(err)
		}
		for sub, want := range map[string]string{"acme": "acme-key-1", "a&b": "amp-key-1", "a%26b": "", "nobody": "", "..data": "", "..v1": "", "..own": "", "lost+found": ""} {
			if got := keyOf(t, keys, sub); got != want {
				t.Errorf("%s: %q, want %q", sub, got, want)
			}
		}
		mount(t, dir, "v2", map[string]string{"acme": "acme-key-2\n", "a%26b": "amp-key-1", "new": "new-key"})
		after(2 * keyCheckInterval)
		for sub, want := range map[string]string{"acme": "acme-key-2", "a&b": "amp-key-1", "new": "new-key", "gone": ""} {
			if got := keyOf(t, keys, sub); got != want {
				t.Errorf("after the swap, %s: %q, want %q", sub, got, want)
			}
		}
	})
}

func TestOneBadFileConcernsItsSubAccountOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "one"), "one-key-1")
		write(t, filepath.Join(dir, "two"), "two-key-1")
		var reports []error
		keys, err := OpenKeys(dir, func(err error) { reports = append(reports, err) })
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "one"), "broken\nkey")
		write(t, filepath.Join(dir, "two"), "two-key-2")
		after(2 * keyCheckInterval)
		if one, two := keyOf(t, keys, "one"), keyOf(t, keys, "two"); one != "one-key-1" || two != "two-key-2" || len(reports) != 1 {
			t.Errorf("keys %q %q, reports %v", one, two, reports)
		}
		os.RemoveAll(dir) // a volume that is gone keeps what there was
		after(2 * keyCheckInterval)
		if one := keyOf(t, keys, "one"); one != "one-key-1" || len(reports) != 2 {
			t.Errorf("key %q, reports %v", one, reports)
		}
	})
}

func TestOpenKeysNamesEveryMistake(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenKeys(filepath.Join(dir, "missing"), nil); err == nil {
		t.Error("missing path accepted")
	}
	if _, err := OpenKeys(dir, nil); err == nil || !strings.Contains(err.Error(), "no key file") {
		t.Errorf("empty directory: %v", err)
	}
	write(t, filepath.Join(dir, "good"), testKey)
	write(t, filepath.Join(dir, "empty"), "")
	write(t, filepath.Join(dir, "large"), strings.Repeat("x", maxKeyFile+1))
	write(t, filepath.Join(dir, "a%26b"), testKey)
	write(t, filepath.Join(dir, "a&b"), "another-key")
	_, err := OpenKeys(dir, nil)
	for _, name := range []string{"empty", "large", "another file for the sub-account a&b"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v does not name %s", err, name)
		}
	}
}
