package sizing

import (
	"fmt"
	"strings"
	"time"
)

// Tables are those of deploy/sizing.md, by the name of the marker before them.
func Tables() map[string]string {
	return map[string]string{"plans": plans(), "millions": millions(), "latencies": latencies()}
}

const (
	mib = 1 << 20
	gib = 1 << 30
	tib = 1 << 40
)

// plans are for replicas with two cores, and an API that answers in 50 ms.
func plans() string {
	t := table{"| peak | outcomes in the window | a partition may stand still for | calls at once | cores in use | IP addresses | sub-accounts | replicas | partitions | memory each | ledger, three copies | restart of a replica |"}
	for _, l := range []Load{
		{Rate: 100, Outcomes: 1e6, Handover: time.Second},
		{Rate: 3_000, Outcomes: 10e6, Handover: time.Second},
		{Rate: 12_000, Outcomes: 100e6, Handover: 2 * time.Second},
		{Rate: 100_000, Outcomes: 1e9, Handover: 2 * time.Second},
	} {
		l.Latency = 50 * time.Millisecond
		p := Measured.Plan(l, Published, 2)
		t.row("%s/s | %s | %s | %s | %.1f | %d | %d | %d | %s | %s | %s | %s", count(l.Rate), count(l.Outcomes), l.Handover, count(p.Slots), p.Cores,
			p.Addresses, p.SubAccounts, p.Replicas, count(float64(p.Partitions)), size(p.Memory), size(p.Ledger), p.Restart.Round(time.Second))
	}
	return t.String()
}

// millions is what outcomes cost a replica that holds them in ten partitions.
func millions() string {
	t := table{"| outcomes of the window in a replica | index | memory at most | a copy of the ledger | restart |"}
	for _, n := range []float64{1e6, 5e6, 10e6, 100e6} {
		t.row("%s | %s | %s | %s | %s", count(n), size(n*Measured.Entry), size(Measured.Memory(n, 10)), size(n*Measured.Outcome),
			time.Duration(n/Measured.Replay*float64(time.Second)).Round(time.Second))
	}
	return t.String()
}

// latencies is what the slots of a replica give.
func latencies() string {
	t := table{"| the API answers in | calls/s of `--concurrency` 1024 | for a single sub-account | calls at once for 3,000/s |"}
	free := Limits{PerAddress: 1e9, PerSubAccount: 1e9, Concurrency: Published.Concurrency}
	for _, ms := range []int{20, 50, 200, 1000, 5000} {
		d := time.Duration(ms) * time.Millisecond
		t.row("%s | %s | %s | %s", d, count(free.Rate(d, 2, 1)), count(free.Rate(d, 1, 1)), count(3000*d.Seconds()))
	}
	return t.String()
}

type table []string

func (t *table) row(format string, args ...any) {
	if len(*t) == 1 {
		*t = append(*t, strings.Repeat("|---", strings.Count((*t)[0], "|")-1)+"|")
	}
	*t = append(*t, "| "+fmt.Sprintf(format, args...)+" |")
}

func (t *table) String() string { return strings.Join(*t, "\n") + "\n" }

// count is a number with its thousands apart.
func count(x float64) string {
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func size(bytes float64) string {
	switch {
	case bytes >= tib:
		return fmt.Sprintf("%.1f TiB", bytes/tib)
	case bytes >= gib:
		return fmt.Sprintf("%.1f GiB", bytes/gib)
	}
	return fmt.Sprintf("%.0f MiB", bytes/mib)
}
