/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The compiler of policies: what is looked up in its tables, in the way of the programs, is what
 * egress_policy_find() says by going through the rules one by one.
 */

#include "netfw/filter_table.h"
#include "tests/support/random_policy.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum {
	POLICIES = 400,
	TARGETS = 200,
};

static Prefix parse(const char *text)
{
	Prefix prefix;

	cr_assert_eq(prefix_parse(&prefix, text), 0, "%s", text);
	return prefix;
}

static bool key_holds(uint32_t length, const uint8_t *key, const uint8_t *bytes)
{
	for (uint32_t bit = 0; bit < length; bit++)
		if ((key[bit / 8] ^ bytes[bit / 8]) & (0x80 >> bit % 8))
			return false;
	return true;
}

/* The longest match, as an LPM trie finds it. */
static const struct filter_rule *look_up(const FilterTable *table, const Prefix *address)
{
	const struct filter_rule *found = NULL;
	size_t count = address->family == 4 ? table->count4 : table->count6;
	uint32_t longest = 0;

	for (size_t i = 0; i < count; i++) {
		uint32_t length =
			address->family == 4 ? table->keys4[i].length : table->keys6[i].length;
		const uint8_t *key =
			address->family == 4 ? table->keys4[i].address : table->keys6[i].address;

		if (!key_holds(length, key, address->address) || (found && length < longest))
			continue;
		found = address->family == 4 ? &table->rules4[i] : &table->rules6[i];
		longest = length;
	}
	return found;
}

static bool port_holds(const FilterTable *table, const struct filter_rule *rule,
		       const EgressTarget *target)
{
	uint32_t set = rule->range[0].first | (uint32_t)rule->range[0].last << 16;
	const uint8_t wanted[] = { (uint8_t)(set >> 24), (uint8_t)(set >> 16),
				   (uint8_t)(set >> 8),  (uint8_t)set,
				   target->protocol,     (uint8_t)(target->port >> 8),
				   (uint8_t)target->port };

	for (size_t i = 0; i < table->port_count; i++)
		if (key_holds(table->ports[i].length, table->ports[i].set, wanted))
			return true;
	return false;
}

static bool allows(const FilterTable *table, const EgressTarget *target)
{
	const struct filter_rule *rule = look_up(table, &target->address);

	if (!rule)
		return false;
	if (rule->any)
		return true;
	if (rule->range_count == FILTER_PORTS)
		return port_holds(table, rule, target);
	for (size_t i = 0; i < rule->range_count; i++)
		if (rule->protocol[i] == target->protocol && target->port >= rule->range[i].first &&
		    target->port <= rule->range[i].last)
			return true;
	return false;
}

static EgressTarget target_of(const char *address, uint8_t protocol, uint16_t port)
{
	EgressTarget target = { .protocol = protocol, .port = port };

	cr_assert_eq(prefix_parse_address(&target.address, address), 0);
	return target;
}

static FilterTable *compile(const EgressPolicy *policy, const Prefix *denied, size_t count)
{
	FilterTable *table = NULL;
	Error err = { 0 };

	cr_assert_eq(filter_table_new(&table, policy, denied, count, &err), 0, "%s", err.what);
	return table;
}

Test(filter_table, what_is_denied_without_rules_has_an_entry_that_allows_nothing)
{
	const Prefix denied = parse("169.254.0.0/16");
	const EgressPolicy policy = { .count = 0 };
	const EgressTarget target = target_of("169.254.169.254", EGRESS_TCP, 80);
	cleanup_(filter_table_freep) FilterTable *table = compile(&policy, &denied, 1);

	cr_assert_not(allows(table, &target));
}

Test(filter_table, without_rules_nothing_is_allowed)
{
	const EgressPolicy policy = { 0 };
	cleanup_(filter_table_freep) FilterTable *table = compile(&policy, NULL, 0);
	EgressTarget target = target_of("192.0.2.1", EGRESS_TCP, 80);

	cr_assert_not(allows(table, &target));
	cr_assert_eq(table->count4 + table->count6, 0);
}

Test(filter_table, an_exception_holds_for_its_own_rule_only)
{
	const Prefix except[] = { parse("10.1.0.0/16") };
	const EgressBlock wide[] = { { parse("10.0.0.0/8"), except, 1 } };
	const EgressBlock narrow[] = { { parse("10.1.2.0/24"), NULL, 0 } };
	const EgressPort http[] = { { EGRESS_TCP, 80, 80 } }, dns[] = { { EGRESS_UDP, 53, 53 } };
	const EgressRule rules[] = {
		{ .to = wide, .to_count = 1, .ports = http, .port_count = 1 },
		{ .to = narrow, .to_count = 1, .ports = dns, .port_count = 1 }
	};
	const EgressPolicy policy = { rules, 2 };
	cleanup_(filter_table_freep) FilterTable *table = compile(&policy, NULL, 0);
	EgressTarget outside = target_of("10.2.0.1", EGRESS_TCP, 80);
	EgressTarget excepted = target_of("10.1.2.3", EGRESS_TCP, 80);
	EgressTarget named = target_of("10.1.2.3", EGRESS_UDP, 53);

	cr_assert(allows(table, &outside));
	cr_assert_not(allows(table, &excepted));
	cr_assert(allows(table, &named));
}

Test(filter_table, what_is_always_denied_is_reached_by_naming_it_alone)
{
	const Prefix denied[] = { parse("169.254.0.0/16") };
	const EgressBlock all[] = { { parse("0.0.0.0/0"), NULL, 0 } };
	const EgressBlock named[] = { { parse("169.254.169.254/32"), NULL, 0 } };
	const EgressRule everything[] = { { .to = all, .to_count = 1 } };
	const EgressRule both[] = { { .to = all, .to_count = 1 }, { .to = named, .to_count = 1 } };
	const EgressPolicy wide = { everything, 1 }, wanted = { both, 2 };
	cleanup_(filter_table_freep) FilterTable *without = compile(&wide, denied, 1);
	cleanup_(filter_table_freep) FilterTable *with = compile(&wanted, denied, 1);
	EgressTarget metadata = target_of("169.254.169.254", EGRESS_TCP, 80);
	EgressTarget other = target_of("169.254.1.1", EGRESS_TCP, 80);
	EgressTarget world = target_of("192.0.2.1", EGRESS_TCP, 80);

	cr_assert(allows(without, &world));
	cr_assert_not(allows(without, &metadata));
	cr_assert(allows(with, &metadata));
	cr_assert_not(allows(with, &other));
}

Test(filter_table, ports_that_touch_are_one_range_and_many_go_to_the_table_of_ports)
{
	const EgressPort touching[] = { { EGRESS_TCP, 80, 81 }, { EGRESS_TCP, 82, 90 } };
	EgressPort many[9];
	const EgressRule one[] = { { .ports = touching, .port_count = 2 } };
	const EgressRule lots[] = { { .ports = many, .port_count = array_size(many) } };
	const EgressPolicy small = { one, 1 }, large = { lots, 1 };
	cleanup_(filter_table_freep) FilterTable *table = NULL, *larger = NULL;

	for (size_t i = 0; i < array_size(many); i++)
		many[i] = (EgressPort){ EGRESS_UDP, (uint16_t)(i * 100 + 1),
					(uint16_t)(i * 100 + 50) };

	table = compile(&small, NULL, 0);
	larger = compile(&large, NULL, 0);

	cr_assert_eq(table->rules4[0].range_count, 1);
	cr_assert_eq(table->rules4[0].range[0].last, 90);
	cr_assert_eq(table->port_count, 0);
	cr_assert_eq(larger->rules4[0].range_count, FILTER_PORTS);
	for (uint32_t port = 0; port <= UINT16_MAX; port++) {
		EgressTarget target = target_of("192.0.2.1", EGRESS_UDP, (uint16_t)port);
		bool wanted = port && port < 900 && (port - 1) % 100 < 50;

		cr_assert_eq(allows(larger, &target), wanted, "%u", port);
	}
}

Test(filter_table, icmp_is_that_of_the_addresss_family)
{
	const EgressPort ping[] = { { EGRESS_ICMP, 0, UINT16_MAX } };
	const EgressRule rules[] = { { .ports = ping, .port_count = 1 } };
	const EgressPolicy policy = { rules, 1 };
	cleanup_(filter_table_freep) FilterTable *table = compile(&policy, NULL, 0);
	EgressTarget four = target_of("192.0.2.1", EGRESS_ICMP, 0);
	EgressTarget six = target_of("2001:db8::1", EGRESS_ICMPV6, 0);
	EgressTarget wrong = target_of("192.0.2.1", EGRESS_ICMPV6, 0);

	cr_assert(allows(table, &four));
	cr_assert(allows(table, &six));
	cr_assert_not(allows(table, &wrong));
}

Test(filter_table, any_policy_is_looked_up_as_it_is_read_rule_by_rule)
{
	unsigned seed = 20260101;
	size_t allowed = 0;

	for (size_t n = 0; n < POLICIES; n++) {
		cleanup_(filter_table_freep) FilterTable *table = NULL;
		cleanup_free RandomPolicy *random = random_policy_new(&seed);

		table = compile(&random->policy, random->denied, random->denied_count);

		for (size_t i = 0; i < TARGETS; i++) {
			EgressTarget target = random_policy_target(&seed);
			bool wanted;

			wanted = egress_policy_find(&random->policy, random->denied,
						    random->denied_count, &target) >= 0;
			allowed += wanted;
			cr_assert_eq(allows(table, &target), wanted, "policy %zu, target %zu", n,
				     i);
		}
	}
	cr_assert_gt(allowed, POLICIES * TARGETS / 20);
	cr_assert_lt(allowed, POLICIES * TARGETS - POLICIES * TARGETS / 20);
}

Test(filter_table, ten_thousand_blocks_are_ten_thousand_entries)
{
	enum {
		COUNT = 10000
	};
	cleanup_free EgressBlock *blocks = new0_array(EgressBlock, COUNT);
	const EgressPort http[] = { { EGRESS_TCP, 80, 80 } };
	const EgressRule rules[] = {
		{ .to = blocks, .to_count = COUNT, .ports = http, .port_count = 1 }
	};
	const EgressPolicy policy = { rules, 1 };
	cleanup_(filter_table_freep) FilterTable *table = NULL;

	for (size_t i = 0; i < COUNT; i++)
		blocks[i].cidr = (Prefix){ 4, 32, { 198, 18, (uint8_t)(i >> 8), (uint8_t)i } };

	table = compile(&policy, NULL, 0);

	cr_assert_eq(table->count4, COUNT);
}

Test(filter_table, rules_that_overlap_without_end_are_refused)
{
	enum {
		COUNT = 1000
	};
	cleanup_free EgressBlock *blocks = new0_array(EgressBlock, COUNT);
	cleanup_free EgressPort *ports = new0_array(EgressPort, 2UL * COUNT);
	cleanup_free EgressRule *rules = new0_array(EgressRule, COUNT + 1);
	const EgressPolicy policy = { rules, COUNT + 1 };
	FilterTable *table = NULL;
	Error err = { 0 };

	for (size_t i = 0; i < 2UL * COUNT; i++)
		ports[i] = (EgressPort){ EGRESS_TCP, (uint16_t)(2 * i + 1), (uint16_t)(2 * i + 1) };
	rules[0] = (EgressRule){ .ports = ports, .port_count = 2UL * COUNT };
	for (size_t i = 0; i < COUNT; i++) {
		blocks[i].cidr = (Prefix){ 4, 32, { 198, 18, (uint8_t)(i >> 8), (uint8_t)i } };
		rules[i + 1] = (EgressRule){
			.to = &blocks[i], .to_count = 1, .ports = ports, .port_count = 1
		};
	}

	cr_assert_eq(filter_table_new(&table, &policy, NULL, 0, &err), -1);

	cr_assert_eq(err.kind, ERROR_FIREWALL);
	cr_assert_eq(err.cause, CAUSE_INPUT);
	cr_assert_null(table);
}
