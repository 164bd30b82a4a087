package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
	"github.com/rs/zerolog/log"
)

// Detour is a second way to the brokers of a cluster: a listener of its own
// behind one proxy for each broker, in the test's process. What runs through
// the proxies can be cut, delayed, narrowed, or lost in one direction; clients
// of Cluster.Bootstrap do not notice. Brokers are counted from 0; naming none
// means all. Faults add up until Heal.
type Detour struct {
	tb      testing.TB
	proxies []*toxiproxy.Proxy
}

// Bootstrap lists the proxies' addresses, which the brokers advertise to
// clients that come this way.
func (d *Detour) Bootstrap() []string {
	addresses := make([]string, 0, len(d.proxies))
	for _, p := range d.proxies {
		addresses = append(addresses, p.Listen)
	}
	return addresses
}

// Cut ends all connections and refuses new ones.
func (d *Detour) Cut(brokers ...int) {
	d.each(brokers, (*toxiproxy.Proxy).Stop)
}

// Reset ends all connections, once: whatever was on its way is lost.
func (d *Detour) Reset(brokers ...int) {
	d.tb.Helper()
	d.Cut(brokers...)
	d.reopen(brokers)
}

// Delay holds up everything, requests and answers alike, by about so much.
func (d *Detour) Delay(by, jitter time.Duration, brokers ...int) {
	d.tb.Helper()
	for _, stream := range []string{requests, answers} {
		d.poison(stream, "latency", brokers, map[string]int64{"latency": by.Milliseconds(), "jitter": jitter.Milliseconds()})
	}
}

// Narrow lets so many KiB a second through, on each connection and way.
func (d *Detour) Narrow(kib int64, brokers ...int) {
	d.tb.Helper()
	for _, stream := range []string{requests, answers} {
		d.poison(stream, "bandwidth", brokers, map[string]int64{"rate": kib})
	}
}

// LoseRequests lets no byte reach the brokers; connections stay open.
func (d *Detour) LoseRequests(brokers ...int) {
	d.tb.Helper()
	d.poison(requests, "timeout", brokers, map[string]int64{"timeout": 0})
}

// LoseAnswers lets requests reach the brokers, and none of their answers back.
func (d *Detour) LoseAnswers(brokers ...int) {
	d.tb.Helper()
	d.poison(answers, "timeout", brokers, map[string]int64{"timeout": 0})
}

// Heal ends every fault. Connections that have lost something are closed.
func (d *Detour) Heal() {
	d.tb.Helper()
	d.each(nil, func(p *toxiproxy.Proxy) { p.Toxics.ResetToxics(context.Background()) })
	d.reopen(nil)
}

// The ways through a proxy, in toxiproxy's words.
const (
	requests = "upstream"
	answers  = "downstream"
)

// poison gives a toxic to every connection of some proxies, present and future.
func (d *Detour) poison(stream, kind string, brokers []int, attributes map[string]int64) {
	d.tb.Helper()
	var pairs []string
	for name, value := range attributes {
		pairs = append(pairs, fmt.Sprintf("%q:%d", name, value))
	}
	description := fmt.Sprintf(`{"type":%q,"stream":%q,"attributes":{%s}}`, kind, stream, strings.Join(pairs, ","))
	d.each(brokers, func(p *toxiproxy.Proxy) {
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(description)); err != nil {
			d.tb.Errorf("%s on the way to %s: %v", kind, p.Upstream, err)
		}
	})
}

// reopen starts the proxies that Cut has stopped.
func (d *Detour) reopen(brokers []int) {
	d.tb.Helper()
	d.each(brokers, func(p *toxiproxy.Proxy) {
		if err := p.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
			d.tb.Errorf("open the way to %s again: %v", p.Upstream, err)
		}
	})
}

// each does something to some proxies at the same time; to all if none is named.
func (d *Detour) each(brokers []int, do func(*toxiproxy.Proxy)) {
	chosen := d.proxies
	if len(brokers) > 0 {
		chosen = nil
		for _, i := range brokers {
			chosen = append(chosen, d.proxies[i])
		}
	}
	var wg sync.WaitGroup
	for _, p := range chosen {
		wg.Go(func() { do(p) })
	}
	wg.Wait()
}

// One toxic of the library logs to zerolog's global logger, whatever it is given.
func init() { log.Logger = zerolog.Nop() }

// newProxy opens a loopback port that leads to another one.
func newProxy(listen, upstream int) (*toxiproxy.Proxy, error) {
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, loopback(upstream), loopback(listen), loopback(upstream))
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("start a proxy: %w", err)
	}
	return p, nil
}
