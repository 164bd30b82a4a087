package checker

import (
	"strings"
	"testing"
	"time"

	"smscancel/worker"
)

func TestWhatTheNextOwnerIsToldIsTrue(t *testing.T) {
	expectEach(t, []breakage{
		{"a commit before the outcome", func(s *scene) { s.outcome(untried).Timestamp = s.now.Add(time.Second) }, []Rule{CommitAhead}},
		{"a commit of a smaller offset", func(s *scene) { s.commit(b, capped, 1014) }, []Rule{CommitBack}},
		{"a commit by the owner that was", func(s *scene) { s.commit(a, untried+1, 1014) }, []Rule{CommitBack}},
		{"a lease that is not the commit's", func(s *scene) { s.edit(b.instance, `"lease":1012,"level":"info"`, `"lease":1011,"level":"info"`) }, []Rule{WrongLease}},
		{"an old commit", func(s *scene) {
			s.edit(b.instance, `"lease":1012,"level":"info"`, `"lease":1000,"level":"info"`)
			s.edit(b.instance, `"lease":1012,"offset":12`, `"lease":1000,"offset":12`)
		}, []Rule{WrongLease}},
		{"another owner in between", func(s *scene) {
			c := owner{"host-c", 3}
			s.log(c, "debug", "something", nil) // or it may have done more than it tells
			s.take(c, untried+1, leased, lastCommit)
		}, []Rule{WrongLease}},
		{"another owner in between, and it says so", func(s *scene) {
			s.take(owner{"host-c", 3}, untried+1, unknownLease, lastCommit)
		}, nil},
		{"only itself in between, and it did nothing", func(s *scene) {
			c := owner{"host-c", 3}
			s.log(c, "debug", saysGivenUp, map[string]any{"producerId": pid, "epoch": 2})
			s.take(c, untried+1, leased, lastCommit)
		}, nil},
		{"a lease that is capped too early", func(s *scene) { s.run.Setup.SessionTimeout = 20 * time.Second }, []Rule{WrongLease}},
		{"a commit that drops the inherited lease", func(s *scene) { s.recommit(2, `"lease":1012`, `"lease":1000`) }, []Rule{LeaseShort}},
		{"a commit whose lease leaves a call out", func(s *scene) {
			short := s.run.Commits[0]
			short.At = s.callOf(doubtful, 0).EndedAt
			short.Metadata = strings.Replace(short.Metadata, `"lease":1000`, `"lease":1`, 1)
			s.run.Commits = append([]Commit{s.run.Commits[0], short}, s.run.Commits[1:]...)
		}, []Rule{LeaseShort}},
		{"a commit without metadata", func(s *scene) {
			s.commit(b, untried+1, leased)
			s.run.Commits[len(s.run.Commits)-1].Metadata = ""
		}, []Rule{BadMetadata}},
		{"the metadata of another offset", func(s *scene) { s.recommit(4, `"offset":16,"pid"`, `"offset":15,"pid"`) }, []Rule{BadMetadata}},
		{"the metadata of another ledger", func(s *scene) { s.recommit(4, `"n":2`, `"n":3`) }, []Rule{BadMetadata}},
		{"the fingerprint of another record", func(s *scene) { s.recommit(4, `"last":{"offset":15`, `"last":{"offset":14`) }, []Rule{BadMetadata}},
	})
}

func TestACommitThatWasTakenBackIsNotMissed(t *testing.T) {
	s := validRun(t)
	s.run.Commits = append(s.run.Commits, Commit{Topic: requests, Partition: 1, Offset: -1, At: s.pass(time.Second).now})
	s.pass(15 * time.Second)
	s.take(owner{"host-c", 2}, 0, unknownLease, map[string]any{"offset": -1})
	s.commit(owner{"host-c", 2}, 0, unknownLease)
	s.expect()
}

// Somebody else may have called, whose commits are another group's.
func TestAnOwnerBehindAForeignFenceInheritsAnUnknownLease(t *testing.T) {
	for lease, rules := range map[int64][]Rule{-1: {WrongLease}, unknownLease: nil} {
		s := newScene(t)
		late := owner{"host-a", 1}
		s.take(late, 0, lease, map[string]any{"offset": -1})
		s.commit(late, 0, lease)
		s.expect(rules...)
	}
}

// The commits of a topic that was deleted say nothing of its successor's requests.
func TestCommitsOfADeletedTopicAreNotAheadOfItsSuccessors(t *testing.T) {
	s := newScene(t)
	s.take(a, 0, -1, map[string]any{"offset": -1})
	s.commit(a, 0, 1000)
	past := s.run.Commits[0] // a request of an aborted transaction
	past.Offset, past.Metadata = 1, strings.Replace(past.Metadata, `"offset":0`, `"offset":1`, 1)
	s.run.Commits = append(s.run.Commits, past)
	s.run.Commits = append(s.run.Commits, Commit{Topic: requests, Partition: 1, Offset: -1, At: s.pass(time.Second).now})
	heir := owner{"host-b", 1}
	s.take(heir, 0, unknownLease, map[string]any{"offset": -1})
	s.commit(heir, 0, unknownLease)
	r := s.cancel(umid(2))
	s.call(heir, r, counted(1))
	s.settle(heir, r, worker.StatusCancelled, count(1))
	s.commit(heir, r+1, unknownLease)
	s.expect()
}
