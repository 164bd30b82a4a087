package deployment

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"

	"smscancel/worker/metrics"
)

const monitoring = "../../deploy/monitoring/"

var promQL = parser.NewParser(parser.Options{})

// what makes each alert fire, within 40 minutes.
var trouble = map[string]string{
	"SmscancelStalled":         `smscancel_lag_records{topic="t",partition="0"} 5x40` + "\n" + `smscancel_outcomes_total{status="cancelled",kind=""} 7x40`,
	"SmscancelOldRequest":      `smscancel_oldest_request_age_seconds 0+60x40`,
	"SmscancelBacklogGrows":    `smscancel_lag_records{topic="t",partition="0"} 9000+1000x40`,
	"SmscancelBreakerOpen":     `smscancel_hold{sub_account="acme_shop",reason="breaker"} 1x40`,
	"SmscancelKeyRefused":      `smscancel_hold{sub_account="",reason="auth"} 1x40`,
	"SmscancelRateLimited":     `smscancel_api_calls_total{http_status="429",kind="rate_limited"} 0+30x40` + "\n" + `smscancel_api_calls_total{http_status="200",kind=""} 0+900x40`,
	"SmscancelFetchStopped":    `smscancel_fetch_stopped{topic="t",partition="3",sub_account="acme"} 1x40`,
	"SmscancelExpired":         `smscancel_outcomes_total{status="expired",kind=""} 0x20 1x20`,
	"SmscancelFailures":        `smscancel_outcomes_total{status="failed",kind="server_error"} 0+10x40` + "\n" + `smscancel_outcomes_total{status="cancelled",kind=""} 0+100x40`,
	"SmscancelRejected":        `smscancel_outcomes_total{status="rejected",kind="invalid_request"} 0x20 1x20`,
	"SmscancelUnkeyed":         `smscancel_unkeyed_requests_total 0x20 3x20`,
	"SmscancelLostToRetention": `smscancel_lost_to_retention_records_total 0x20 3x20`,
	"SmscancelFenced":          `smscancel_fenced_total 0+1x40`,
	"SmscancelRebalances":      `smscancel_rebalances_total 0+2x40`,
	"SmscancelConfigNotLoaded": `smscancel_config_last_reload_successful 0x40`,
}

// A worker to which nothing bad happens: 100 requests a second, some of them
// unknown to the API, some withdrawn, one retry in a hundred.
const health = `
smscancel_lag_records{topic="t",partition="0"} 50x40
smscancel_outcomes_total{status="cancelled",kind=""} 0+6000x40
smscancel_outcomes_total{status="failed",kind="not_found"} 0+600x40
smscancel_outcomes_total{status="failed",kind="withdrawn"} 0+600x40
smscancel_outcomes_total{status="expired",kind=""} 4x40
smscancel_outcomes_total{status="rejected",kind="invalid_request"} 4x40
smscancel_oldest_request_age_seconds 2x40
smscancel_hold{sub_account="acme_shop",reason="pause"} 1x40
smscancel_api_calls_total{http_status="200",kind=""} 0+7000x40
smscancel_api_calls_total{http_status="429",kind="rate_limited"} 0+60x40
smscancel_unkeyed_requests_total 0x40
smscancel_lost_to_retention_records_total 0x40
smscancel_fenced_total 2x40
smscancel_rebalances_total 3x40
smscancel_config_last_reload_successful 1x40`

// Promise: every alert fires in the trouble it is for, and in no health.
func TestEveryAlertFires(t *testing.T) {
	for _, rule := range alerts(t) {
		t.Run(rule.Alert, func(t *testing.T) {
			series, known := trouble[rule.Alert]
			if !known {
				t.Fatal("no trouble is known that it is for")
			}
			if !fires(t, rule, series) {
				t.Errorf("does not fire on\n%s", series)
			}
			if fires(t, rule, health) {
				t.Error("fires although nothing is wrong")
			}
		})
	}
}

// fires evaluates a rule each half minute, as a Prometheus does.
func fires(t *testing.T, r rulefmt.Rule, series string) bool {
	expr, err := promQL.ParseExpr(r.Expr)
	if err != nil {
		t.Fatal(err)
	}
	storage := promqltest.LoadedStorage(t, "load 1m\n  "+strings.ReplaceAll(strings.TrimSpace(series), "\n", "\n  "))
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1e6)
	rule := rules.NewAlertingRule(r.Alert, expr, time.Duration(r.For), 0, labels.FromMap(r.Labels), labels.FromMap(r.Annotations), labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler))
	for at := time.Unix(0, 0).UTC(); at.Before(time.Unix(40*60, 0)); at = at.Add(30 * time.Second) {
		if _, err := rule.Eval(context.Background(), 0, at, rules.EngineQueryFunc(engine, storage), nil, 0); err != nil {
			t.Fatal(err)
		}
		for _, alert := range rule.ActiveAlerts() {
			if text := alert.Annotations.Get("summary"); strings.Contains(text, "error expanding") {
				t.Fatalf("its summary: %s", text)
			}
			if alert.State == rules.StateFiring {
				return true
			}
		}
	}
	return false
}

// Promise: what an alert says can be looked up, under its name.
func TestEveryAlertHasARunbookParagraph(t *testing.T) {
	var named, written []string
	for _, rule := range alerts(t) {
		named = append(named, rule.Alert)
	}
	for _, heading := range regexp.MustCompile(`(?m)^## (.+)\n\S`).FindAllStringSubmatch(read(t, monitoring+"runbook.md"), -1) {
		written = append(written, heading[1])
	}
	if !slices.Equal(named, written) {
		t.Errorf("alerts %v, paragraphs %v", named, written)
	}
}

// Promise: alerts and dashboard name only metrics that the worker has.
func TestEveryMetricExists(t *testing.T) {
	exprs := dashboard(t)
	if len(exprs) < 15 {
		t.Errorf("only %d expressions are found on the dashboard", len(exprs))
	}
	for _, rule := range alerts(t) {
		exprs = append(exprs, rule.Expr)
	}
	known := workerMetrics(t)
	for _, text := range exprs {
		expr, err := promQL.ParseExpr(strings.ReplaceAll(text, "$job", "job"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		for _, matchers := range parser.ExtractSelectors(expr) {
			for _, m := range matchers {
				if m.Name == model.MetricNameLabel && !known[m.Value] {
					t.Errorf("%s: no such metric as %s", text, m.Value)
				}
			}
		}
	}
}

// dashboard returns every expression on it.
func dashboard(t *testing.T) (exprs []string) {
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal([]byte(read(t, monitoring+"dashboard.json")), &board); err != nil {
		t.Fatal(err)
	}
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			exprs = append(exprs, target.Expr)
		}
	}
	return exprs
}

// workerMetrics are the names of all series that a worker can have.
func workerMetrics(t *testing.T) map[string]bool {
	described := make(chan *prometheus.Desc)
	go func() {
		defer close(described)
		metrics.New().Registry.Describe(described)
	}()
	known := map[string]bool{}
	name := regexp.MustCompile(`fqName: "([^"]+)"`)
	for desc := range described {
		n := name.FindStringSubmatch(desc.String())[1]
		known[n] = true
		if strings.HasSuffix(n, "_seconds") {
			known[n+"_bucket"] = true
		}
	}
	if !known["smscancel_requests_total"] {
		t.Fatalf("found only %v", known)
	}
	return known
}

func alerts(t *testing.T) []rulefmt.Rule {
	groups, errs := rulefmt.Parse([]byte(read(t, monitoring+"alerts.yaml")), false, model.UTF8Validation, promQL, slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return groups.Groups[0].Rules
}

func read(t *testing.T, file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
