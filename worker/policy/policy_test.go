package policy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWhatTheRulesSayOfARequest(t *testing.T) {
	rules := Rules{SubAccounts: []string{"paused.shop"}, Campaigns: []string{"late", "both"}, Withdrawn: []string{"wrong", "both"}}
	for _, c := range []struct {
		rules   Rules
		subject Subject
		want    error
	}{
		{Rules{}, Subject{"shop", "wrong"}, nil},
		{rules, Subject{"shop", ""}, nil},
		{rules, Subject{"shop", "other"}, nil},
		{rules, Subject{"late", "paused.shop"}, nil}, // neither list is read for the other
		{rules, Subject{"paused.shop", ""}, ErrPaused},
		{rules, Subject{"shop", "late"}, ErrPaused},
		{rules, Subject{"shop", "wrong"}, ErrWithdrawn},
		{rules, Subject{"shop", "both"}, ErrWithdrawn},
		{rules, Subject{"paused.shop", "wrong"}, ErrWithdrawn},
		{Rules{PauseAll: true}, Subject{"shop", ""}, ErrPaused},
		{Rules{PauseAll: true, Withdrawn: []string{"wrong"}}, Subject{"shop", "wrong"}, ErrWithdrawn},
		{Rules{Campaigns: []string{""}, Withdrawn: []string{""}}, Subject{"shop", ""}, nil},
	} {
		var p Policy
		p.Set(c.rules)
		if got := p.Judge(c.subject); got != c.want {
			t.Errorf("%+v of %+v: %v, want %v", c.rules, c.subject, got, c.want)
		}
	}
	for name, p := range map[string]*Policy{"nil": nil, "the zero value": {}} {
		if err := p.Judge(Subject{"shop", "wrong"}); err != nil {
			t.Errorf("%s holds back: %v", name, err)
		}
	}
}

func TestAWatchEndsOnlyWhenItsOwnJudgementChanges(t *testing.T) {
	var p Policy
	watched, stop, _ := p.Watch(t.Context(), Subject{"shop", "late"})
	p.Set(Rules{Campaigns: []string{"other"}, SubAccounts: []string{"another"}})
	if watched.Err() != nil {
		t.Fatal("ended by rules about others")
	}
	p.Set(Rules{Campaigns: []string{"late"}})
	if !Changed(watched) {
		t.Fatal("goes on")
	}
	stop()
	watched, stop, judgement := p.Watch(t.Context(), Subject{"shop", "late"})
	p.Set(Rules{PauseAll: true}) // another reason, and the same judgement
	if judgement != ErrPaused || watched.Err() != nil {
		t.Errorf("%v, ended: %v", judgement, watched.Err())
	}
	stop()
	if Changed(watched) || len(p.watches) != 0 {
		t.Errorf("stopped: changed %t, %d watches are left", Changed(watched), len(p.watches))
	}
}

func TestWaitEndsWithThePauseTheWithdrawalOrItsContext(t *testing.T) {
	pause := Rules{Campaigns: []string{"c"}}
	ended := errors.New("context")
	for name, c := range map[string]struct {
		then Rules
		want error
	}{
		"the pause ends":           {Rules{}, nil},
		"the campaign is not ours": {Rules{Withdrawn: []string{"other"}}, nil},
		"the campaign withdrawn":   {Rules{Withdrawn: []string{"c"}}, ErrWithdrawn},
		"withdrawn and paused":     {Rules{Withdrawn: []string{"c"}, PauseAll: true}, ErrWithdrawn},
		"the context":              {pause, ended},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p Policy
				p.Set(pause)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(time.Second, func() { p.Set(Rules{PauseAll: true}) }) // still paused
				time.AfterFunc(time.Minute, func() {
					p.Set(c.then)
					if c.want == ended {
						cancel()
					}
				})
				paused, err := p.Wait(ctx, Subject{"shop", "c"})
				if paused != time.Minute || !errors.Is(err, c.want) && !(c.want == ended && errors.Is(err, context.Canceled)) {
					t.Errorf("%v after %s", err, paused)
				}
				if s := p.Snapshot(); len(s.Waiting) != 0 || len(p.watches) != 0 {
					t.Errorf("left over: %v, %d watches", s.Waiting, len(p.watches))
				}
			})
		})
	}
}

func TestTheSnapshotSaysSinceWhenAndHowManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Policy
		start := time.Now()
		p.Set(Rules{PauseAll: true, Withdrawn: []string{"a"}, Campaigns: []string{"c"}})
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 5 {
			go p.Wait(ctx, Subject{[]string{"shop", "bank"}[i%2], ""}) //nolint:errcheck // ends with the test
		}
		<-time.After(time.Minute)
		p.Set(Rules{PauseAll: true, Withdrawn: []string{"b", "a"}})
		s := p.Snapshot()
		if !s.All.Equal(start) || s.Campaigns.Total != 0 || s.Withdrawn.Total != 2 || s.Withdrawn.Newest[0] != (Held{"b", start.Add(time.Minute)}) ||
			s.Withdrawn.Newest[1] != (Held{"a", start}) || s.Waiting["shop"] != 3 || s.Waiting["bank"] != 2 {
			t.Errorf("%+v", s)
		}
		cancel()
		synctest.Wait()
		if s := p.Snapshot(); len(s.Waiting) != 0 {
			t.Errorf("%v wait", s.Waiting)
		}
	})
}

// 100,000 campaigns are withdrawn while 20,000 requests wait, one in ten of a
// campaign among them: those are woken, and nobody else.
func TestALargeListWakesThoseWhomItConcerns(t *testing.T) {
	var p Policy
	var woken atomic.Int32
	var concerned, all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 20_000 {
		campaign := "right"
		if i%10 == 0 {
			campaign = fmt.Sprint("wrong-", i)
			concerned.Add(1)
		}
		watched, stop, _ := p.Watch(ctx, Subject{"shop", campaign})
		all.Go(func() {
			defer stop()
			if <-watched.Done(); Changed(watched) {
				woken.Add(1)
				concerned.Done()
			}
		})
	}
	rules := Rules{}
	for i := range 100_000 {
		rules.Withdrawn = append(rules.Withdrawn, fmt.Sprint("wrong-", i))
	}
	start := time.Now()
	p.Set(rules)
	concerned.Wait()
	t.Logf("woken after %s", time.Since(start))
	if s := p.Snapshot().Withdrawn; s.Total != 100_000 || len(s.Newest) != maxListed {
		t.Errorf("%d campaigns, %d are named", s.Total, len(s.Newest))
	}
	cancel()
	all.Wait()
	if woken.Load() != 2000 || len(p.watches) != 0 {
		t.Errorf("%d woken, %d watches are left", woken.Load(), len(p.watches))
	}
}

func TestRulesMayChangeWhileManyWaitAndAsk(t *testing.T) {
	var p Policy
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 20 {
		wg.Go(func() {
			for ctx.Err() == nil {
				s := Subject{fmt.Sprint(i % 7), fmt.Sprint(i % 11)}
				p.Wait(ctx, s) //nolint:errcheck // any end will do
				_, stop, _ := p.Watch(ctx, s)
				p.Judge(s) //nolint:errcheck // whatever it is
				stop()
			}
		})
	}
	for i := range 100 {
		p.Set(Rules{PauseAll: i%5 == 0, SubAccounts: []string{fmt.Sprint(i % 7)}, Campaigns: []string{fmt.Sprint(i % 11)}, Withdrawn: []string{fmt.Sprint(i % 3)}})
		p.Snapshot()
	}
	cancel()
	wg.Wait()
	if s := p.Snapshot(); len(s.Waiting) != 0 || len(p.watches) != 0 {
		t.Errorf("left over: %v, %d watches", s.Waiting, len(p.watches))
	}
}

func BenchmarkWatch(b *testing.B) {
	var p Policy
	p.Set(Rules{Withdrawn: []string{"wrong"}})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, stop, _ := p.Watch(context.Background(), Subject{"shop", "right"})
			stop()
		}
	})
}
