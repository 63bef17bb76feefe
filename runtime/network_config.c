/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_config.h"

#include "base/text.h"

#include <net/if.h>
#include <string.h>

enum {
	BUILTIN_MAX = 16,  /* room for what is always denied */
	SLOTS_MAX = 65535, /* that a filter has for VMs */
};

/* The sizes that a pool may have: the smallest has an address for one VM. */
typedef struct PoolRule {
	const char *key;
	uint8_t family, shortest, longest;
	const char *not_in[4]; /* blocks whose addresses are no host's; up to the first NULL */
} PoolRule;

static const PoolRule rule4 = {
	"network.pool4", 4, 8, 30, { "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", NULL },
};
static const PoolRule rule6 = {
	"network.pool6", 6, 32, 126, { "::/8", "fe80::/10", "ff00::/8", NULL },
};

static bool is_none(const char *text)
{
	return text_equal(text, "") || strcmp(text, "none") == 0;
}

static bool overlap(const Prefix *a, const Prefix *b)
{
	return prefix_contains(a, b) || prefix_contains(b, a);
}

static void check_pool(const PoolRule *rule, const Prefix *pool, Error *err)
{
	if (pool->family != rule->family) {
		(void)error_add_violation(err, rule->key, "is not of IPv%u", rule->family);
		return;
	}
	if (pool->length < rule->shortest || pool->length > rule->longest)
		(void)error_add_violation(err, rule->key, "is too %s: must be a /%u to a /%u",
					  pool->length > rule->longest ? "small" : "large",
					  rule->shortest, rule->longest);
	for (size_t i = 0; rule->not_in[i]; i++) {
		Prefix block;

		if (prefix_parse(&block, rule->not_in[i]) < 0)
			abort();
		if (overlap(pool, &block))
			(void)error_add_violation(err, rule->key, "overlaps %s", rule->not_in[i]);
	}
}

static void read_pool(Prefix *ret, const PoolRule *rule, const char *text, Error *err)
{
	int r;

	*ret = (Prefix){ .family = 0 };
	if (is_none(text))
		return;
	r = prefix_parse(ret, text);
	if (r < 0)
		(void)error_add_violation(err, rule->key, "'%.64s': %s", text, prefix_problem(r));
	else
		check_pool(rule, ret, err);
}

static void add_denied(NetworkConfig *config, const char *text, Error *err)
{
	Prefix prefix;
	int r = prefix_parse(&prefix, text);

	if (r < 0)
		(void)error_add_violation(err, "network.denied", "'%.64s': %s", text,
					  prefix_problem(r));
	else if (config->denied_count == NETWORK_DENIED_MAX - BUILTIN_MAX)
		(void)error_add_violation(err, "network.denied", "more than %d",
					  NETWORK_DENIED_MAX - BUILTIN_MAX);
	else
		config->denied[config->denied_count++] = prefix;
}

static void read_denied(NetworkConfig *config, const char *text, Error *err)
{
	cleanup_free char *copy = text_dup(text);
	char *rest = copy;
	const char *one;

	if (is_none(text))
		return;
	while ((one = strsep(&rest, ",")) && err->violation_count < BUILTIN_MAX)
		add_denied(config, one, err);
}

static void check_uplink(const char *name, Error *err)
{
	if (!is_none(name) && (strlen(name) >= IFNAMSIZ || strpbrk(name, "/ \t\"") ||
			       strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
		(void)error_add_violation(err, "network.uplink",
					  "'%.64s' is no name of an interface", name);
}

static VmEnforcement read_enforcement(const char *name)
{
	if (strcmp(name, "bpf") == 0)
		return VM_ENFORCEMENT_BPF;
	return strcmp(name, "iptables") == 0 ? VM_ENFORCEMENT_IPTABLES : VM_ENFORCEMENT_UNSET;
}

static void check_routed(const NetworkConfig *config, const NetworkSettings *settings, Error *err)
{
	if (is_none(settings->pool4) && is_none(settings->pool6))
		(void)error_add_violation(err, "network.pool4",
					  "routed needs a pool of one family at least");
	if (config->max_vms > SLOTS_MAX)
		(void)error_add_violation(err, "limits.max_vms",
					  "at most %d with network.mode routed", SLOTS_MAX);
}

int network_config_read(NetworkConfig *ret, const NetworkSettings *settings, Error *err)
{
	uint32_t max_vms = ret->max_vms;
	Error found = { 0 };

	*ret = (NetworkConfig){
		.max_vms = max_vms,
		.uplink = is_none(settings->uplink) ? NULL : settings->uplink,
		.enforcement = read_enforcement(settings->enforcement),
		.new_flows = (uint32_t)settings->new_flows,
	};
	if (strcmp(settings->mode, "bridge") == 0)
		(void)error_add_violation(&found, "network.mode", "bridge is not supported");
	read_pool(&ret->pool4, &rule4, settings->pool4, &found);
	read_pool(&ret->pool6, &rule6, settings->pool6, &found);
	if (strcmp(settings->mode, "routed") == 0)
		check_routed(ret, settings, &found);
	read_denied(ret, settings->denied, &found);
	check_uplink(settings->uplink, &found);
	if (error_is_set(&found)) {
		error_merge_violations(err, &found);
		return -1;
	}
	network_deny_builtin(ret);
	return 0;
}
