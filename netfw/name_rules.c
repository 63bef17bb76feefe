/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/name_rules.h"

#include "base/text.h"

#include <stdatomic.h>
#include <string.h>

typedef struct NameRule {
	EgressRule rule; /* without blocks */
	EgressPort *ports;
	char **names;
} NameRule;

struct NameRules {
	atomic_uint refs;
	NameRule *rules;
	size_t count;
	Prefix *denied; /* and the internal ones */
	size_t denied_count;
};

/* What RFC 6052 translates to addresses of IPv4: those are its last four bytes. */
static const Prefix translation = { .family = 6, .length = 96, .address = { 0, 0x64, 0xff, 0x9b } };

static const char *const internal[] = {
	"0.0.0.0/8",      "10.0.0.0/8",    "100.64.0.0/10", "127.0.0.0/8",
	"169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",  "192.168.0.0/16",
	"224.0.0.0/3",    "::/8", /* with IPv4's addresses in it */
	"64:ff9b:1::/48", "fc00::/7",      "fe80::/9",      "ff00::/8",
};

static void copy_rule(NameRule *to, const EgressRule *from)
{
	to->ports = new0_array(EgressPort, from->port_count);
	for (size_t i = 0; i < from->port_count; i++)
		to->ports[i] = from->ports[i];
	to->names = new0_array(char *, from->name_count);
	for (size_t i = 0; i < from->name_count; i++)
		to->names[i] = text_dup(from->names[i]);
	to->rule = (EgressRule){
		.names = (const char *const *)to->names,
		.name_count = from->name_count,
		.ports = to->ports,
		.port_count = from->port_count,
	};
}

static size_t count_named(const EgressPolicy *policy)
{
	size_t count = 0;

	for (size_t i = 0; i < policy->count; i++)
		count += policy->rules[i].name_count > 0;
	return count;
}

NameRules *name_rules_new(const EgressPolicy *policy, const Prefix *denied, size_t denied_count)
{
	size_t count = count_named(policy);
	NameRules *rules;

	if (!count)
		return NULL;
	rules = new0(NameRules);
	atomic_init(&rules->refs, 1);
	rules->rules = new0_array(NameRule, count);
	for (size_t i = 0; i < policy->count; i++)
		if (policy->rules[i].name_count)
			copy_rule(&rules->rules[rules->count++], &policy->rules[i]);
	rules->denied = new0_array(Prefix, denied_count + array_size(internal));
	for (size_t i = 0; i < denied_count; i++)
		rules->denied[rules->denied_count++] = denied[i];
	for (size_t i = 0; i < array_size(internal); i++)
		if (prefix_parse(&rules->denied[rules->denied_count++], internal[i]) < 0)
			abort();
	return rules;
}

NameRules *name_rules_ref(NameRules *rules)
{
	atomic_fetch_add_explicit(&rules->refs, 1, memory_order_relaxed);
	return rules;
}

void name_rules_unref(NameRules *rules)
{
	if (!rules || atomic_fetch_sub_explicit(&rules->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (size_t i = 0; i < rules->count; i++) {
		for (size_t k = 0; k < rules->rules[i].rule.name_count; k++)
			free(rules->rules[i].names[k]);
		free(rules->rules[i].names);
		free(rules->rules[i].ports);
	}
	free(rules->rules);
	free(rules->denied);
	free(rules);
}

bool name_rules_allow(const NameRules *rules, const char *name)
{
	for (size_t i = 0; rules && i < rules->count; i++)
		if (egress_rule_names(&rules->rules[i].rule, name))
			return true;
	return false;
}

static void add_ports(const EgressRule *rule, uint8_t family, PortRanges *ret)
{
	port_ranges_add(ret, rule->ports, rule->port_count, family);
}

void name_rules_ports(const NameRules *rules, const char *name, uint8_t family, PortRanges *ret)
{
	for (size_t i = 0; rules && i < rules->count; i++)
		if (egress_rule_names(&rules->rules[i].rule, name))
			add_ports(&rules->rules[i].rule, family, ret);
}

void name_rules_all_ports(const NameRules *rules, PortRanges *ret)
{
	for (size_t i = 0; rules && i < rules->count; i++)
		add_ports(&rules->rules[i].rule, 4, ret);
	port_ranges_unite(ret);
}

static bool denies(const NameRules *rules, const Prefix *address)
{
	for (size_t i = 0; i < rules->denied_count; i++)
		if (prefix_contains(&rules->denied[i], address))
			return true;
	return false;
}

bool name_rules_deny(const NameRules *rules, const Prefix *address)
{
	Prefix four = { .family = 4, .length = 32 };

	if (denies(rules, address))
		return true;
	if (!prefix_contains(&translation, address))
		return false;
	memcpy(four.address, address->address + 12, 4);
	return denies(rules, &four);
}
