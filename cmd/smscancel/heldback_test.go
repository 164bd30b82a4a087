package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"smscancel/worker/policy"
)

func TestWhatTheFileHoldsBack(t *testing.T) {
	for text, want := range map[string]policy.Rules{
		"":                                       {},
		"paused:\nwithdrawn-campaigns:\n":        {},
		"paused: false\nwithdrawn-campaigns: []": {Withdrawn: []string{}},
		"paused: true":                           {PauseAll: true},
		"paused: yes":                            {PauseAll: true},
		"paused: {}":                             {},
		"paused: {campaigns: , sub-accounts: ~}": {},
		"paused: {campaigns: [autumn, 2026], sub-accounts: [acme_shop]}":    {Campaigns: []string{"autumn", "2026"}, SubAccounts: []string{"acme_shop"}},
		"paused:\n  campaigns: autumn, winter\n":                            {Campaigns: []string{"autumn, winter"}}, // a comma may be part of an id
		"withdrawn-campaigns: autumn":                                       {Withdrawn: []string{"autumn"}},
		"withdrawn-campaigns:\n- autumn # by mistake\n- 'spring: a sale'\n": {Withdrawn: []string{"autumn", "spring: a sale"}},
		"withdrawn-campaigns: &w [a, b]\npaused: {campaigns: *w}":           {Withdrawn: []string{"a", "b"}, Campaigns: []string{"a", "b"}},
	} {
		rules, mistakes := heldBy(t, text)
		assert.Empty(t, mistakes, text)
		assert.Equal(t, want, rules, text)
	}
}

func TestMistakesInWhatTheFileHoldsBack(t *testing.T) {
	const campaign, paused = "a campaignId is 1 to 128 bytes", "write paused: true, or paused: {sub-accounts: [ID], campaigns: [ID]}"
	for text, want := range map[string]string{
		"paused: maybe":                                           `paused: "maybe": ` + paused,
		"paused: [autumn]":                                        `paused: ` + paused,
		"paused: {campaign: [a]}":                                 `paused: unknown key "campaign"`,
		"paused: {campaigns: {a: b}}":                             `paused.campaigns: write a list of ids`,
		"paused: {campaigns: a, campaigns: b}":                    `paused.campaigns stands twice`,
		"withdrawn-campaigns: {a: b}":                             `withdrawn-campaigns: write a list of ids`,
		"withdrawn-campaigns: [~]":                                `withdrawn-campaigns: an id is missing`,
		"withdrawn-campaigns: [[a]]":                              `withdrawn-campaigns: write a list of ids`,
		"withdrawn-campaigns: ['']":                               `withdrawn-campaigns: "": ` + campaign,
		"withdrawn-campaigns: [" + strings.Repeat("a", 129) + "]": `withdrawn-campaigns: "` + strings.Repeat("a", 129) + `": ` + campaign,
	} {
		_, mistakes := heldBy(t, text)
		if assert.Len(t, mistakes, 1, text) {
			assert.Equal(t, "--config: FILE: line 1: "+want, mistakes[0], text)
		}
	}
}

// heldBy reads a configuration file. FILE stands for it in the mistakes.
func heldBy(t *testing.T, text string) (policy.Rules, usageError) {
	t.Helper()
	path := fileWith(t, "config.yaml", text)
	file := loadConfigFile(environment{args: []string{"worker", "--config", path}, lookup: lookupIn(nil)})
	mistakes := file.mistakes
	rules := file.held(&mistakes)
	for i := range mistakes {
		mistakes[i] = strings.ReplaceAll(mistakes[i], path, "FILE")
	}
	return rules, mistakes
}
