/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/egress/policy.h"

#include "netfw/iptables_rules.h"
#include "tests/bench/egress/bed.h"
#include "tests/support/frame.h"

#include <string.h>

enum {
	BLOCKS_A_RULE = 16, /* a policy has at most EGRESS_RULES_MAX rules */
	ID_BYTES = 32,
};

static const char extra_id[] = "one-more";

/* A policy and what it points into. */
typedef struct Many {
	EgressBlock *blocks;
	EgressRule *rules;
	EgressPolicy policy;
} Many;

static void many_clear(Many *many)
{
	free(many->blocks);
	free(many->rules);
}

static const EgressPort web[] = { { EGRESS_TCP, 443, 443 } };
static const EgressPort names[] = { { EGRESS_UDP, BED_TARGET_PORT, BED_TARGET_PORT } };

/* 10.0.0.0/8, of which each VM has addresses of its own. */
static Prefix own_address(unsigned number, int vm)
{
	unsigned at = (unsigned)(vm + 1) * 16384 + number;

	return (Prefix){ 4, 32, { 11, (uint8_t)(at >> 16), (uint8_t)(at >> 8), (uint8_t)at } };
}

static Many make(unsigned count, int vm)
{
	unsigned others = count - 1, a_rule = others > EGRESS_RULES_MAX - 1 ? BLOCKS_A_RULE : 1;
	size_t rules = (others + a_rule - 1) / a_rule;
	Many many = { .blocks = new0_array(EgressBlock, count),
		      .rules = new0_array(EgressRule, rules + 1) };

	for (unsigned i = 0; i < others; i++)
		many.blocks[i].cidr = own_address(i, vm);
	if (prefix_parse_address(&many.blocks[others].cidr, BED_TARGET) < 0)
		abort();
	for (size_t i = 0; i < rules; i++) {
		size_t first = i * a_rule, left = others - first;

		many.rules[i] = (EgressRule){ .to = &many.blocks[first],
					      .to_count = left < a_rule ? left : a_rule,
					      .ports = web,
					      .port_count = 1 };
	}
	many.rules[rules] = (EgressRule){
		.to = &many.blocks[others], .to_count = 1, .ports = names, .port_count = 1
	};
	many.policy = (EgressPolicy){ many.rules, rules + 1 };
	return many;
}

FilterTable *policy_table(unsigned rules, int vm)
{
	cleanup_(many_clear) Many many = make(rules, vm);
	FilterTable *table = NULL;
	Error err = { 0 };

	bed_check(filter_table_new(&table, &many.policy, NULL, 0, &err), &err);
	return table;
}

static Prefix guest_address(unsigned vm)
{
	Prefix address;

	if (prefix_parse_address(&address, FRAME_GUEST4) < 0)
		abort();
	address.address[1] = (uint8_t)(vm >> 8);
	address.address[2] = (uint8_t)vm;
	return address;
}

/* The VM's chain, and a jump to it above those that are there. */
static void write_vm(FILE *to, unsigned number, unsigned rules)
{
	cleanup_(many_clear) Many many = make(rules, (int)number);
	char id[ID_BYTES], tap[IFNAMSIZ], chain[IPTABLES_CHAIN_MAX];
	const IptablesVm vm = { id, tap, guest_address(number), { .length = 0 } };
	const IptablesInput input = { &vm, &many.policy, NULL, 0 };
	IptablesRules written;
	Error err = { 0 };

	(void)snprintf(id, sizeof id, "vm-%u", number);
	(void)snprintf(tap, sizeof tap, "hbench-%u", number);
	bed_check(iptables_rules_write(&written, 4, &input, &err), &err);
	iptables_chain(id, chain);
	(void)fprintf(to, ":%s - [0:0]\n%s-I FORWARD 1 -i %s -j %s\n-I INPUT 1 -i %s -j %s\n",
		      chain, written.text, tap, chain, tap, chain);
	iptables_rules_clear(&written);
}

void policy_iptables(unsigned vms, unsigned rules)
{
	FILE *restore = popen("iptables-restore --noflush -w", "we"); /* NOLINT(cert-env33-c) */

	if (!restore)
		abort();
	(void)fprintf(restore, "*filter\n");
	for (unsigned i = 0; i < vms; i++)
		write_vm(restore, i, rules);
	(void)fprintf(restore, "COMMIT\n");
	if (pclose(restore) != 0)
		abort();
}

void policy_iptables_add(unsigned rules)
{
	static const char tap[] = "hbench-more";
	cleanup_(many_clear) Many many = make(rules, POLICY_NOBODYS);
	const IptablesVm vm = { extra_id, tap, guest_address(UINT16_MAX), { .length = 0 } };
	Error err = { 0 };

	bed_check(iptables_apply(&vm, &many.policy, NULL, 0, &err), &err);
}

void policy_iptables_remove(void)
{
	Error err = { 0 };

	bed_check(iptables_remove(extra_id, &err), &err);
}
