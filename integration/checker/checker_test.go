package checker

import (
	"encoding/json"
	"testing"

	"smscancel/worker"
)

func outcomeOf(partition int, offset int64) Record {
	value, _ := json.Marshal(worker.Outcome{Status: worker.StatusCancelled, Source: worker.OutcomeSource{Topic: "r", Partition: partition, Offset: offset}})
	return Record{Topic: "o", Value: value}
}

func TestEveryRequestNeedsOneOutcomeAndEveryOutcomeARequest(t *testing.T) {
	requests := []Record{{Topic: "r", Offset: 0}, {Topic: "r", Offset: 1}}
	for name, c := range map[string]struct {
		outcomes []Record
		want     map[Rule]int
	}{
		"valid":   {[]Record{outcomeOf(0, 0), outcomeOf(0, 1)}, map[Rule]int{}},
		"lost":    {[]Record{outcomeOf(0, 0)}, map[Rule]int{Lost: 1}},
		"second":  {[]Record{outcomeOf(0, 0), outcomeOf(0, 1), outcomeOf(0, 1)}, map[Rule]int{Second: 1}},
		"foreign": {[]Record{outcomeOf(0, 0), outcomeOf(0, 1), outcomeOf(1, 1)}, map[Rule]int{Foreign: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			report := Check(&Run{Requests: requests, Outcomes: c.outcomes})
			got, _ := json.Marshal(report.Total)
			want, _ := json.Marshal(c.want)
			if string(got) != string(want) {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
