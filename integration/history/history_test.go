package history

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"smscancel/integration/checker"
)

// commitRecord is a commit as a coordinator writes it.
func commitRecord(group string, version int16) *kgo.Record {
	key, value := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
	key.Version, key.Group, key.Topic, key.Partition = 1, group, "requests", 3
	value.Version, value.Offset, value.Metadata, value.CommitTimestamp = version, 42, "text", 1_700_000_000_123
	return &kgo.Record{Key: key.AppendTo(nil), Value: value.AppendTo(nil)}
}

func TestCommitsOfEveryVersionAreRead(t *testing.T) {
	want := checker.Commit{Group: "g", Topic: "requests", Partition: 3, Offset: 42, Metadata: "text", At: time.UnixMilli(1_700_000_000_123)}
	for version := range int16(5) {
		got, ours, err := decode(commitRecord("g", version), "g")
		if err != nil || !ours || got != want {
			t.Errorf("version %d: %+v, %t, %v", version, got, ours, err)
		}
	}
}

func TestWhatIsNoCommitOfTheGroupIsLeftOut(t *testing.T) {
	member := &kgo.Record{Key: append([]byte{0, 2}, "g"...), Value: []byte("x")}
	for name, r := range map[string]*kgo.Record{"another group's": commitRecord("h", 3), "of the group itself": member} {
		if _, ours, err := decode(r, "g"); ours || err != nil {
			t.Errorf("%s: %t, %v", name, ours, err)
		}
	}
}

func TestACommitThatIsTakenBackIsPartOfTheHistory(t *testing.T) {
	gone := commitRecord("g", 3)
	gone.Value, gone.Timestamp = nil, time.UnixMilli(5)
	want := checker.Commit{Group: "g", Topic: "requests", Partition: 3, Offset: -1, At: time.UnixMilli(5)}
	if got, ours, err := decode(gone, "g"); err != nil || !ours || got != want {
		t.Errorf("%+v, %t, %v", got, ours, err)
	}
}

// Kafka finds a group's partition by Java's String.hashCode: that of "smscancel"
// is 1199883539, that of "group-that-wraps" -710721071, whose sign is dropped.
func TestAGroupIsFoundWhereJavaPutsIt(t *testing.T) {
	for group, want := range map[string]int32{"smscancel": 39, "group-that-wraps": 21} {
		if got := partitionOf(group, 50); got != want {
			t.Errorf("%s is looked for in partition %d, not %d", group, got, want)
		}
	}
}
