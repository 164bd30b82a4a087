package page

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"smscancel/integration/notrun"
	"smscancel/worker/policy"
)

// hostile names must be shown as they stand, and do nothing.
var hostile = []string{`<img src=x onerror=alert(1)>`, `"><script>alert(1)</script>`, "a\u202eb\u0000c", strings.Repeat("W", 128), `constructor`, `__proto__`}

// Promise: the page shows what the outcome topic holds, names what is held back,
// takes hostile names for text, is right again after the worker was away, and
// stays usable on a phone, by keyboard and for a screen reader, with 1,100
// campaigns and 500 sub-accounts.
func TestThePageTellsTheTruthAndCanBeUsed(t *testing.T) {
	b := newBrowser(t)
	w := newWorld(t)
	stop := w.start("sms-worker-0", policy.Rules{Campaigns: []string{"spring-sale"}})
	b.open("http://" + w.addr + "/")

	campaigns := []string{"autumn-sale", "bookings", "reminders", ""}
	w.send(600, func(i int) map[string]any {
		return map[string]any{"subAccountId": []string{"acme_shop", "acme_bookings"}[i%2], "campaignId": campaigns[i%4]}
	})
	w.send(20, func(int) map[string]any {
		return map[string]any{"subAccountId": "acme_denied", "campaignId": "bookings"}
	})
	w.send(5, func(i int) map[string]any { return map[string]any{"umid": "not an id", "subAccountId": "acme_shop"} })
	settled := w.requests
	w.send(30, func(int) map[string]any {
		return map[string]any{"subAccountId": "acme_sick", "campaignId": "reminders"}
	})
	w.send(7, func(int) map[string]any {
		return map[string]any{"subAccountId": "acme_shop", "campaignId": "spring-sale"}
	})
	b.shows(w.outcomes(settled))
	b.await(`the sick sub-account is named`, `rows('subs').some(r => r[0] === 'acme_sick' && r[1].startsWith('breaker') && r[3].startsWith('in '))`)
	b.await(`what the operator holds back is named`, `rows('held').some(r => r[0] === 'paused campaign' && r[1] === 'spring-sale')`)
	b.await(`the oldest request and what it waits for`, `/^sms.cancel.requests\/\d offset \d+ of acme_(sick|shop) waits for: (breaker|retry|call|pause)$/.test(document.getElementById('oldest-why').textContent)`)
	b.await(`how far each partition is behind, in records and in time`, `rows('parts').length === 4 && rows('parts').some(r => num(r[2]) > 0 && /^\d+ (s|min)$/.test(r[3]))`)
	b.await(`errors with their code`, `rows('errors').some(r => r[1] === 'acme_denied' && r[2] === 'unauthorized' && r[3] === '401' && r[4] === '1001' && r[5] !== '')`)
	b.await(`the partitions it speaks for`, `document.getElementById('scope').textContent === 'This page speaks for replica sms-worker-0, which has sms.cancel.requests 0, 1, 2, 3.'`)
	b.picture()

	for i, name := range hostile {
		w.send(1, func(int) map[string]any {
			return map[string]any{"subAccountId": "acme_shop", "campaignId": name, "reason": fmt.Sprint(i)}
		})
	}
	w.send(1100, func(i int) map[string]any {
		return map[string]any{"subAccountId": fmt.Sprintf("sub-account-%d", i%500), "campaignId": fmt.Sprintf("campaign %d", i)}
	})
	settled += len(hostile) + 1100
	w.send(500, func(i int) map[string]any { // those that are idle are not shown
		return map[string]any{"subAccountId": fmt.Sprintf("sub-account-%d", i), "campaignId": "spring-sale"}
	})
	found := w.outcomes(settled)
	b.shows(found)
	b.click("#camps-more")
	for _, name := range hostile {
		text, _ := json.Marshal(name)
		b.await("a hostile name is text", fmt.Sprintf(`rows('camps').some(r => r[0] === %s && r[1] === '1')`, text))
	}
	b.await(`1,000 campaigns and the others`, fmt.Sprintf(`rows('camps').length === 1001 && rows('camps').at(-1)[0] === 'other' && rows('camps').slice(0, 1001).reduce((a, r) => a + num(r[1]) + num(r[3]) + num(r[6]), 0) === %d`, settled))
	b.await(`500 sub-accounts and acme's two, below all together`, `document.getElementById('subs-more').textContent === 'Show all 503'`)
	b.await(`nothing was made of a name`, `document.images.length === 0 && document.scripts.length === 1`)

	b.phone()
	b.keyboard()
	b.screenReader()

	stop()
	b.await(`it says that the replica is gone`, `document.getElementById('state').textContent.startsWith('no connection')`)
	w.start("sms-worker-1", policy.Rules{})
	b.await(`it is right again by itself`, `document.getElementById('state').textContent.startsWith('live') && document.getElementById('scope').textContent.includes('sms-worker-1')`)
	b.await(`it counts anew`, `num(rows('totals').find(r => r[0] === 'cancelled')[1]) === 507`) // what was paused
	b.quiet()
}

// browser is a Chromium with one page open.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	complain []string // what its console and its dialogs said
}

func newBrowser(t *testing.T) *browser {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		notrun.Missing(t, "a Chromium", "no chromium or google-chrome is installed")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 1500), chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(5*time.Minute)) // of a machine that is busy
	allocated, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	b := &browser{t: t}
	var end context.CancelFunc
	b.ctx, end = chromedp.NewContext(allocated)
	t.Cleanup(end)
	chromedp.ListenTarget(b.ctx, b.listen)
	return b
}

func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.complain = append(b.complain, e.ExceptionDetails.Error())
	case *cdplog.EventEntryAdded: // refused content and failed requests
		b.complain = append(b.complain, e.Entry.Text+" "+e.Entry.URL)
	}
}

// quiet: no script failed, and nothing was refused by the content policy. That
// the replica went away may have been said.
func (b *browser) quiet() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.complain {
		if !strings.Contains(text, "net::ERR_") {
			b.t.Errorf("the browser says: %s", text)
		}
	}
}

func (b *browser) do(what string, actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
}

// help is what the conditions below use.
const help = `window.rows = id => [...document.getElementById(id).rows].map(r => [...r.cells].map(c => c.textContent));
window.num = text => Number(text.replace(/[^0-9]/g, ''));`

func (b *browser) open(url string) {
	b.do("open the page", cdplog.Enable(), chromedp.Navigate(url), chromedp.Evaluate(help, nil))
}

// await asks until a condition holds, or the test's time is over.
func (b *browser) await(what, condition string) {
	b.t.Helper()
	holds := false
	deadline := time.Now().Add(5 * time.Minute)
	for !holds && time.Now().Before(deadline) {
		b.do(what, chromedp.Evaluate("Boolean("+condition+")", &holds), chromedp.Sleep(100*time.Millisecond))
	}
	if !holds {
		var text string
		b.do(what, chromedp.Text("body", &text, chromedp.ByQuery))
		b.t.Fatalf("%s: the page does not show it:\n%s", what, text)
	}
}

// shows: the page's totals and campaigns are those of the outcome topic.
func (b *browser) shows(want tally) {
	b.t.Helper()
	for _, status := range []string{"cancelled", "not_cancelled", "failed", "duplicate", "expired", "rejected"} {
		b.await(status, fmt.Sprintf(`num(rows('totals').find(r => r[0] === '%s')[1]) === %d`, status, want.status[status]))
	}
	for _, campaign := range []string{"autumn-sale", "bookings", "reminders"} {
		b.filter(campaign)
		b.await(campaign, fmt.Sprintf(`rows('camps').some(r => r[0] === '%s' && num(r[1]) === %d && num(r[3]) === %d)`, campaign, want.campaigns[campaign]["cancelled"], want.campaigns[campaign]["failed"]))
	}
	b.filter("")
}

func (b *browser) filter(wanted string) {
	b.do("filter", chromedp.Evaluate(fmt.Sprintf(`(e => { e.value = '%s'; e.dispatchEvent(new Event('input')) })(document.getElementById('filter'))`, wanted), nil))
}

func (b *browser) click(selector string) { b.do(selector, chromedp.Click(selector, chromedp.ByQuery)) }

// picture writes what README.md shows, where SMSCANCEL_PICTURE says.
func (b *browser) picture() {
	path := os.Getenv("SMSCANCEL_PICTURE")
	if path == "" {
		return
	}
	var png []byte
	b.do("picture", chromedp.CaptureScreenshot(&png))
	if err := os.WriteFile(path, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// phone: 360 pixels are enough, in both colours; what is wider scrolls by itself.
func (b *browser) phone() {
	for _, scheme := range []string{"light", "dark"} {
		var width float64
		var back string
		b.do("a phone", chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile),
			emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
			chromedp.Evaluate(`document.documentElement.scrollWidth`, &width), chromedp.Evaluate(`getComputedStyle(document.body).backgroundColor`, &back))
		if width > 360 {
			b.t.Errorf("%s: the page is %v pixels wide on a phone of 360", scheme, width)
		}
		if want := map[string]string{"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]; back != want {
			b.t.Errorf("%s: it is %s, want %s", scheme, back, want)
		}
	}
	b.do("a desk", chromedp.EmulateViewport(1280, 1500))
}

// keyboard: Tab reaches everything that can be operated, and can be seen there.
func (b *browser) keyboard() {
	b.do("focus", chromedp.Evaluate(`document.activeElement.blur(); window.scrollTo(0, 0)`, nil))
	reached := map[string]bool{}
	for range 40 {
		var at string
		b.do("Tab", chromedp.KeyEvent(kb.Tab), chromedp.Evaluate(`(() => { const e = document.activeElement, s = getComputedStyle(e);
			return (e.id || e.getAttribute('aria-labelledby') || e.getAttribute('href') || e.tagName) + (e === document.body || e.className === 'skip' || s.outlineStyle !== 'none' ? '' : ' without an outline') })()`, &at))
		reached[at] = true
	}
	for _, want := range []string{"#now", "filter", "camps-more", "subs-more", "h-camps", "h-errors", "api/status", "metrics"} {
		if !reached[want] {
			b.t.Errorf("Tab does not reach %s; it reached %v", want, reached)
		}
	}
}

// screenReader: what the accessibility tree holds.
func (b *browser) screenReader() {
	roles, unnamed := map[string]int{}, []string{}
	b.do("the accessibility tree", chromedp.ActionFunc(func(ctx context.Context) error {
		nodes, err := accessibility.GetFullAXTree().Do(ctx)
		for _, n := range nodes {
			if n.Ignored || n.Role == nil {
				continue
			}
			role, name := text(n.Role), text(n.Name)
			roles[role]++
			switch role {
			case "button", "link", "searchbox", "region", "heading", "image", "columnheader", "rowheader":
				if name == "" {
					unnamed = append(unnamed, role)
				}
			}
		}
		return err
	}))
	if len(unnamed) > 0 {
		b.t.Errorf("without a name: %v", unnamed)
	}
	for role, least := range map[string]int{"heading": 8, "table": 6, "columnheader": 30, "rowheader": 100, "status": 1, "main": 1, "image": 1, "searchbox": 1} {
		if roles[role] < least {
			b.t.Errorf("%d of %s, want at least %d (all: %v)", roles[role], role, least, roles)
		}
	}
}

func text(v *accessibility.Value) string {
	var s string
	if v != nil {
		_ = json.Unmarshal(v.Value, &s)
	}
	return s
}
