/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A policy as the filter's programs look it up: for each prefix at which the
 * answer changes, what may be reached in it.
 *
 * The prefixes are all blocks and exceptions of the policy and the
 * always-denied ones. The longest of them that holds an address lies in
 * every other that holds it, so the rules that apply to it are those whose
 * block contains that prefix and no exception does: they are united here, and
 * a packet costs one look-up, however many rules there are.
 */

#include "base/error.h"
#include "netfw/egress_policy.h"
#include "netfw/filter_maps.h"
#include "netfw/name_rules.h"
#include "netfw/port_ranges.h"

typedef struct FilterTable {
	struct filter_key4 *keys4;
	struct filter_rule *rules4; /* one for each key */
	size_t count4;
	struct filter_key6 *keys6;
	struct filter_rule *rules6;
	size_t count6;
	struct filter_port_key *ports; /* of rules that have more ranges than fit */
	size_t port_count;
	NameRules *names; /* what depends on where names are; NULL: nothing */
} FilterTable;

/* As many of @ranges as fit into one rule, beginning with the one at @from; returns how many are
 * left.
 */
size_t filter_rule_fill(struct filter_rule *ret, const PortRanges *ranges, size_t from);

/**
 * filter_table_new() - compile @policy
 * @denied:	the always-denied prefixes; @denied_count of them
 * @err:	FIREWALL, CAUSE_INPUT: united it is larger than FILTER_TABLE_RANGES, or the rules
 *		with names have more ports than FILTER_PIN_PARTS hold
 */
int filter_table_new(FilterTable **ret, const EgressPolicy *policy, const Prefix *denied,
		     size_t denied_count, Error *err) must_check;
void filter_table_free(FilterTable *table);
DEFINE_CLEANUP(FilterTable *, filter_table_free);

enum {
	FILTER_TABLE_RANGES = 1 << 20, /* of ports, counted anew for each prefix they apply to */
};
