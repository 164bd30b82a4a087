package schedule

import "time"

// boundaries are the points between which a process can end. Those of a
// takeover come once in a session, those of a stop only at its end.
var boundaries = []Point{Join, Sync, Init, Add, End, Barrier, CommitRead, Bounds, Replay, Fetch, Lease, Call, Append, Commit, LastCommit}

// takeoverOnly are points that are passed only while partitions move.
var takeoverOnly = map[Point]bool{Join: true, Sync: true, Init: true, Add: true, End: true, Barrier: true, CommitRead: true, Bounds: true, Replay: true,
	Lease: true, LastCommit: true, Leave: true, Find: true}

// answers are the errors that a broker gives at a point: those that refuse the
// request, and those that may come although it took effect.
var answers = map[Point]struct{ refused, done []int16 }{
	// 45, 59, 47 and 90 after the effect: an earlier try was written, its answer
	// was lost, and then the state was lost, or somebody else took over. 6: the
	// leader changed while it waited for its followers.
	Append:     {[]int16{2, 3, 5, 6, 7, 10, 14, 15, 16, 19, 29, 45, 47, 48, 49, 51, 56, 59, 90}, []int16{6, 7, 20, 45, 47, 59, 90}},
	Init:       {[]int16{7, 14, 15, 16, 51, 53}, []int16{7, 16}},
	Add:        {[]int16{3, 7, 14, 15, 16, 47, 48, 49, 51, 53, 90}, []int16{7, 51}},
	End:        {[]int16{7, 14, 15, 16, 47, 48, 49, 51, 53, 90}, []int16{7, 51}},
	Barrier:    {[]int16{7, 14, 15, 16, 47, 48, 49, 51, 53, 90}, []int16{7, 51}},
	Proof:      {[]int16{7, 14, 15, 16, 47, 49, 51, 90}, []int16{7, 51}},
	Commit:     {[]int16{7, 12, 14, 15, 16, 22, 25, 27}, []int16{7, 16}},
	Lease:      {[]int16{7, 12, 14, 15, 16, 22, 25, 27}, []int16{7, 16}},
	LastCommit: {[]int16{7, 14, 15, 16, 22, 25, 27}, []int16{7}},
	CommitRead: {[]int16{7, 14, 15, 16}, nil},
	Fetch:      {[]int16{1, 3, 5, 6, 7, 9, 56, 74, 76}, nil},
	Replay:     {[]int16{3, 5, 6, 7, 9, 56, 74, 76}, nil},
	Bounds:     {[]int16{3, 5, 6, 7, 56, 74}, nil},
	Join:       {[]int16{14, 15, 16, 25}, []int16{7}},
	Sync:       {[]int16{14, 15, 16, 22, 25, 27}, []int16{7}},
	Heartbeat:  {[]int16{14, 15, 16, 22, 25, 27}, nil},
	Leave:      {[]int16{14, 15, 16, 25}, nil},
	Find:       {[]int16{15}, nil},
}

// crashes are the ambushes at every boundary, before the request, with its
// answer unread, and right after that.
func crashes() []Event {
	var all []Event
	for _, point := range boundaries {
		for when := Before; when <= After; when++ {
			all = append(all, Event{Kind: Ambush, Act: Crash, Point: point, When: when, Stopping: point == LastCommit})
		}
	}
	for _, point := range []Point{Call, Append} { // in a drain, which starts no call
		for when := Sent; when <= After; when++ {
			all = append(all, Event{Kind: Ambush, Act: Crash, Point: point, When: when, Stopping: true})
		}
	}
	return append(all, Event{Kind: Ambush, Act: Crash, Point: Append, When: Before, Stopping: true})
}

// errors are the ambushes with an answer of the broker's.
func errorsAt(points ...Point) []Event {
	var all []Event
	for _, point := range points {
		for _, code := range answers[point].refused {
			all = append(all, Event{Kind: Ambush, Act: Answer, Point: point, When: Before, Code: code})
		}
		for _, code := range answers[point].done {
			all = append(all, Event{Kind: Ambush, Act: Answer, Point: point, When: Sent, Code: code})
		}
	}
	return all
}

// silences are the ambushes after which the process cannot know what happened,
// or not for a while.
func silences(points ...Point) []Event {
	var all []Event
	for _, point := range points {
		for _, act := range []Act{Cut, Hang, Slow} {
			for when := Before; when <= Sent; when++ {
				all = append(all, Event{Kind: Ambush, Act: act, Point: point, When: when, For: pause[act]})
			}
		}
		if point != Call { // the simulator would judge what no client waits for
			all = append(all, Event{Kind: Ambush, Act: Late, Point: point, For: pause[Late]})
		}
	}
	return all
}

var pause = map[Act]time.Duration{Late: 3 * time.Second, Slow: 3 * time.Second}

// What belongs together.
var (
	appendPoints      = []Point{Append}
	coordinatorPoints = []Point{Init, Add, End, Barrier, Proof}
	readPoints        = []Point{Fetch, Replay, Bounds}
	commitPoints      = []Point{Commit, Lease, LastCommit, CommitRead}
	memberPoints      = []Point{Join, Sync, Heartbeat, Leave, Find}
)

// catalogue lists every ambush there is.
func catalogue() []Event {
	all := crashes()
	for _, points := range [][]Point{appendPoints, coordinatorPoints, readPoints, commitPoints, memberPoints} {
		all = append(all, errorsAt(points...)...)
		all = append(all, silences(points...)...)
	}
	return append(all, silences(Call, Metadata)...)
}
