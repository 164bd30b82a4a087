package api

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	keyCheckInterval = time.Second
	maxKeyFile       = 4 << 10
)

// KeyFiles reads keys from one file for all sub-accounts, or from a directory
// with a file per sub-account as Kubernetes mounts a Secret: names that begin
// with .. are its own and skipped, & is written %26.
//
// Content is read again when a key is asked for, at most once a second. That is
// exact where times and sizes are not (an atomic swap within one clock tick).
type KeyFiles struct {
	path   string
	isDir  bool
	report func(error)

	start   time.Time
	due     atomic.Int64 // next check, as a duration since start: immune to clock steps
	reading sync.Mutex   // held by the one caller that reads
	problem string       // what was last reported; empty when all is well
	keys    atomic.Pointer[keySet]
}

// keySet is what one reading found: one key for all, or one per sub-account.
type keySet struct {
	all          *Key
	bySubAccount map[string]Key
}

var _ Keys = (*KeyFiles)(nil)

// OpenKeys reads the keys at path. Afterwards a reading that fails keeps the
// old keys and calls report once with the problem, and with nil when it is
// over; report runs on the goroutine of a call and must not block.
func OpenKeys(path string, report func(error)) (*KeyFiles, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("API keys: %w", err)
	}
	k := &KeyFiles{path: path, isDir: info.IsDir(), report: report, start: time.Now()}
	set, err := k.read(&keySet{})
	if err != nil {
		return nil, err
	}
	k.keys.Store(set)
	k.due.Store(int64(keyCheckInterval))
	if !k.isDir && !info.Mode().IsRegular() {
		k.due.Store(math.MaxInt64) // a pipe gives its content once, and then blocks
	}
	return k, nil
}

// Key returns the key of a sub-account as of at most a second ago.
func (k *KeyFiles) Key(subAccountID string) (Key, error) {
	k.refresh()
	set := k.keys.Load()
	if set.all != nil {
		return *set.all, nil
	}
	key, ok := set.bySubAccount[subAccountID]
	if !ok {
		return Key{}, fmt.Errorf("%w: %s", ErrNoKey, subAccountID)
	}
	return key, nil
}

// refresh reads again when it is time. One caller does; the others go on with
// the keys there are.
func (k *KeyFiles) refresh() {
	now := int64(time.Since(k.start))
	if now < k.due.Load() || !k.reading.TryLock() {
		return
	}
	defer k.reading.Unlock()
	if now < k.due.Load() {
		return // another caller was faster
	}
	set, err := k.read(k.keys.Load())
	k.keys.Store(set)
	k.due.Store(int64(time.Since(k.start) + keyCheckInterval))
	k.tell(err)
}

// tell reports a change for the worse or to the good, not every reading.
func (k *KeyFiles) tell(err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem == k.problem {
		return
	}
	k.problem = problem
	if k.report != nil {
		k.report(err)
	}
}

// read returns the keys as they stand; where one cannot be read it is as in old.
func (k *KeyFiles) read(old *keySet) (*keySet, error) {
	if k.isDir {
		return k.readDir(old)
	}
	key, err := readKey(k.path)
	if err != nil {
		return old, err
	}
	return &keySet{all: &key}, nil
}

// readDir takes an empty directory for a volume that is not mounted, not for
// the removal of every key.
func (k *KeyFiles) readDir(old *keySet) (*keySet, error) {
	entries, err := os.ReadDir(k.path)
	if err != nil {
		return old, fmt.Errorf("API keys: %w", err)
	}
	set := &keySet{bySubAccount: make(map[string]Key, len(entries))}
	var problems []error
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		problems = append(problems, set.add(filepath.Join(k.path, entry.Name()), old))
	}
	if err := errors.Join(problems...); err != nil {
		return set, err
	}
	if len(set.bySubAccount) == 0 {
		return old, fmt.Errorf("API keys: directory %s holds no key file: put the key of each sub-account into a file of its name", k.path)
	}
	return set, nil
}

// add reads the key file of one sub-account. What is no regular file is none,
// and a file that went away meanwhile is a sub-account without a key.
func (s *keySet) add(path string, old *keySet) error {
	subAccount := strings.ReplaceAll(filepath.Base(path), "%26", "&")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil
	}
	key, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, twice := s.bySubAccount[subAccount]; twice { // written with %26 and with &
		return fmt.Errorf("file %s: there is another file for the sub-account %s", path, subAccount)
	}
	if err == nil {
		s.bySubAccount[subAccount] = key
	} else if kept, ok := old.bySubAccount[subAccount]; ok {
		s.bySubAccount[subAccount] = kept
	}
	return err
}

func readKey(path string) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return Key{}, fmt.Errorf("API key: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return Key{}, fmt.Errorf("API key: %w", err)
	}
	if len(content) > maxKeyFile {
		return Key{}, fmt.Errorf("file %s is larger than any API key", path)
	}
	key, err := ParseKey(string(content))
	if err != nil {
		return Key{}, fmt.Errorf("file %s: %w", path, err)
	}
	return key, nil
}
