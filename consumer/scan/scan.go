// Package scan reads whole topics: every partition, from a time on, up to the
// ends that were found at the start or for as long as one likes to look. It is
// no member of a group, commits nothing and knows no event. The commands that
// look at topics use it; the worker itself does not.
package scan

import (
	"context"
	"time"

	"smscancel/consumer/records"
)

// Topic is what is read of a topic. Find makes one.
type Topic struct {
	Records *records.Client
	Name    string
	Parts   []Part

	// Committed leaves out the records of transactions that are open or were
	// aborted.
	Committed bool
	// Since and Until leave out records before the one, and at or after the
	// other. Zero is none.
	Since, Until time.Time
	// Follow goes on behind the ends, until the context ends.
	Follow bool
	// Trouble is told once when the brokers do not answer, and nil when they do
	// again. Without Follow that is an error after a while.
	Trouble func(error)
	// Deleted is told when retention deletes records before they were read.
	Deleted func(partition int, from, to int64)
}

// Part is what is read of a partition.
type Part struct {
	Partition int
	First     int64 // the first offset that the log keeps; above 0 something was deleted
	From      int64 // where reading begins
	To        int64 // where it ends: the end of the log when it was looked up
}

// Find looks up where the partitions of a topic begin and end now. Since is the
// time from which on records are wanted; zero means from the start.
func Find(ctx context.Context, client *records.Client, topic string, partitions int, committed bool, since time.Time) (*Topic, error) {
	t := &Topic{Records: client, Name: topic, Parts: make([]Part, partitions), Committed: committed, Since: since}
	for p := range t.Parts {
		part, err := t.find(ctx, p)
		if err != nil {
			return nil, err
		}
		t.Parts[p] = part
	}
	return t, nil
}

func (t *Topic) find(ctx context.Context, p int) (part Part, err error) {
	part.Partition = p
	if part.First, err = t.Records.Earliest(ctx, t.Name, p); err != nil {
		return part, err
	}
	latest := t.Records.Latest
	if t.Committed {
		latest = t.Records.LatestStable
	}
	if part.To, err = latest(ctx, t.Name, p); err != nil {
		return part, err
	}
	part.From = part.First
	if !t.Since.IsZero() {
		var found bool
		if part.From, found, err = t.Records.ByTime(ctx, t.Name, p, t.Since); !found {
			part.From = part.To
		}
	}
	return part, err
}

// FromEnds leaves out everything that stands in the topic now.
func (t *Topic) FromEnds() {
	for p := range t.Parts {
		t.Parts[p].From = t.Parts[p].To
	}
}

// Len is how many offsets there are to read: records, and the markers between them.
func (t *Topic) Len() int64 {
	n := int64(0)
	for _, part := range t.Parts {
		n += max(part.To-part.From, 0)
	}
	return n
}
