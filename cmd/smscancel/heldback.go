package main

import (
	"go.yaml.in/yaml/v3"

	"smscancel/worker/policy"
)

// maxCampaignID is the longest campaignId that a request can have, in bytes.
const maxCampaignID = 128

// held reads paused and withdrawn-campaigns.
func (f *configFile) held(mistakes *usageError) policy.Rules {
	var r policy.Rules
	if value, ok := f.values["paused"]; ok && !isNull(value) {
		f.paused(value, &r, mistakes)
	}
	if value, ok := f.values["withdrawn-campaigns"]; ok && !isNull(value) {
		r.Withdrawn = f.ids("withdrawn-campaigns", value, isCampaign, campaignRule, mistakes)
	}
	return r
}

const pausedRule = "write paused: true, or paused: {sub-accounts: [ID], campaigns: [ID]}"

func (f *configFile) paused(value *yaml.Node, r *policy.Rules, mistakes *usageError) {
	switch value.Kind {
	case yaml.ScalarNode:
		var err error
		if r.PauseAll, err = parseBool(value.Value); err != nil {
			f.note(mistakes, value.Line, "paused: %q: %s", value.Value, pausedRule)
		}
	case yaml.MappingNode:
		seen := map[string]bool{}
		for key, list := range pairs(value) {
			switch {
			case seen[key.Value]:
				f.note(mistakes, key.Line, "paused.%s stands twice", key.Value)
			case key.Value == "sub-accounts" && !isNull(list):
				r.SubAccounts = f.ids("paused.sub-accounts", list, subAccountName.MatchString, subAccountRule, mistakes)
			case key.Value == "campaigns" && !isNull(list):
				r.Campaigns = f.ids("paused.campaigns", list, isCampaign, campaignRule, mistakes)
			case key.Value != "sub-accounts" && key.Value != "campaigns":
				f.note(mistakes, key.Line, "paused: unknown key %q", key.Value)
			}
			seen[key.Value] = true
		}
	default:
		f.note(mistakes, value.Line, "paused: %s", pausedRule)
	}
}

const campaignRule = "a campaignId is 1 to 128 bytes"

func isCampaign(id string) bool { return id != "" && len(id) <= maxCampaignID }

// ids reads a list of ids, or a single one.
func (f *configFile) ids(key string, value *yaml.Node, valid func(string) bool, rule string, mistakes *usageError) []string {
	items := value.Content
	switch value.Kind {
	case yaml.ScalarNode:
		items = []*yaml.Node{value}
	case yaml.SequenceNode:
	default:
		f.note(mistakes, value.Line, "%s: write a list of ids", key)
		return nil
	}
	ids := make([]string, 0, len(items))
	for _, item := range items {
		item = followed(item)
		switch {
		case item.Kind != yaml.ScalarNode:
			f.note(mistakes, item.Line, "%s: write a list of ids", key)
		case isNull(item):
			f.note(mistakes, item.Line, "%s: an id is missing", key)
		case !valid(item.Value):
			f.note(mistakes, item.Line, "%s: %q: %s", key, item.Value, rule)
		default:
			ids = append(ids, item.Value)
		}
	}
	return ids
}
