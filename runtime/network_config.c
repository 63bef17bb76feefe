/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_config.h"

#include "base/text.h"
#include "netfw/tap.h"

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

static void add_resolver(NetworkConfig *config, const char *text, Error *err)
{
	Prefix address;

	if (network_parse_address(&address, text) < 0)
		(void)error_add_violation(err, "network.resolvers", "'%.64s' is no address", text);
	else if (config->resolver_count == NETWORK_RESOLVERS_MAX)
		(void)error_add_violation(err, "network.resolvers", "more than %d",
					  NETWORK_RESOLVERS_MAX);
	else
		config->resolvers[config->resolver_count++] = address;
}

/* Calls @add for each of @text's pieces, which have commas between. */
static void read_list(NetworkConfig *config, const char *text,
		      void (*add)(NetworkConfig *config, const char *text, Error *err), Error *err)
{
	cleanup_free char *copy = text_dup(text);
	char *rest = copy;
	const char *one;

	if (is_none(text))
		return;
	while ((one = strsep(&rest, ",")) && err->violation_count < BUILTIN_MAX)
		add(config, one, err);
}

static void check_interface(const char *key, const char *name, Error *err)
{
	if (!is_none(name) && (strlen(name) >= IFNAMSIZ || strpbrk(name, "/ \t\"") ||
			       strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
		(void)error_add_violation(err, key, "'%.64s' is no name of an interface", name);
}

static VmEnforcement read_enforcement(const char *name)
{
	if (strcmp(name, "bpf") == 0)
		return VM_ENFORCEMENT_BPF;
	return strcmp(name, "iptables") == 0 ? VM_ENFORCEMENT_IPTABLES : VM_ENFORCEMENT_UNSET;
}

static void check_pools(const NetworkConfig *config, const NetworkSettings *settings, Error *err)
{
	if (is_none(settings->pool4) && is_none(settings->pool6))
		(void)error_add_violation(err, "network.pool4",
					  "%s needs a pool of one family at least", settings->mode);
	if (config->max_vms > SLOTS_MAX)
		(void)error_add_violation(err, "limits.max_vms", "at most %d with network.mode %s",
					  SLOTS_MAX, settings->mode);
}

/* Routed, they are the host's, and no others may be asked for. */
static void read_gateways(NetworkConfig *config, const NetworkSettings *settings, Error *err)
{
	const char *const rows[][2] = {
		{ "network.bridge", settings->bridge },
		{ "network.gateway4", settings->gateway4 },
		{ "network.gateway6", settings->gateway6 },
	};

	for (size_t i = 0; i < array_size(rows); i++)
		if (!is_none(rows[i][1]))
			(void)error_add_violation(err, rows[i][0], "only with network.mode bridge");
	network_own_gateways(config);
}

/* The pool lies in the gateway's network, and has it at most as its first address. */
static void read_gateway(Prefix *ret, uint8_t *length, const PoolRule *rule, const Prefix *pool,
			 const char *text, Error *err)
{
	char key[] = "network.gateway4";
	Prefix network, first;

	key[sizeof key - 2] = (char)('0' + rule->family);
	if (is_none(text))
		return;
	if (prefix_parse_in(ret, length, text) < 0 || *length < 1 || ret->family != rule->family) {
		(void)error_add_violation(err, key, "'%.64s' is no ADDRESS/LENGTH of IPv%u", text,
					  rule->family);
		return;
	}
	network = prefix_network(ret, *length);
	if (memcmp(network.address, ret->address, sizeof network.address) == 0)
		(void)error_add_violation(err, key, "'%.64s' is the network, and no address in it",
					  text);
	first = network_first(pool);
	if (!pool->family || !prefix_contains(&network, pool))
		(void)error_add_violation(err, key, "%s does not lie in its network", rule->key);
	else if (prefix_contains(pool, ret) && prefix_compare(&first, ret) != 0)
		(void)error_add_violation(err, key, "is in %s, and not its first address",
					  rule->key);
}

static void read_bridge(NetworkConfig *config, const NetworkSettings *settings, Error *err)
{
	uint8_t unused;

	check_interface("network.bridge", settings->bridge, err);
	if (is_none(settings->bridge))
		(void)error_add_violation(err, "network.bridge", "mode bridge needs one");
	else if (settings->bridge[0] == TAP_PREFIX[0])
		(void)error_add_violation(err, "network.bridge",
					  "must not begin with '%s', as taps of VMs do",
					  TAP_PREFIX);
	config->bridge = settings->bridge;
	if (is_none(settings->pool4))
		(void)error_add_violation(err, "network.pool4",
					  "mode bridge needs one: MACs are numbered as it is");
	if (!is_none(settings->uplink))
		(void)error_add_violation(err, "network.uplink", "not with network.mode bridge");
	if (config->resolver_count)
		(void)error_add_violation(err, "network.resolvers", "not with network.mode bridge");
	config->length4 = config->pool4.length;
	read_gateway(&config->gateway4, &config->length4, &rule4, &config->pool4,
		     settings->gateway4, err);
	read_gateway(&config->gateway6, &unused, &rule6, &config->pool6, settings->gateway6, err);
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
	read_pool(&ret->pool4, &rule4, settings->pool4, &found);
	read_pool(&ret->pool6, &rule6, settings->pool6, &found);
	if (strcmp(settings->mode, "off") != 0)
		check_pools(ret, settings, &found);
	read_list(ret, settings->denied, add_denied, &found);
	ret->host_resolvers = strcmp(settings->resolvers, "auto") == 0;
	if (!ret->host_resolvers)
		read_list(ret, settings->resolvers, add_resolver, &found);
	check_interface("network.uplink", settings->uplink, &found);
	if (strcmp(settings->mode, "bridge") == 0)
		read_bridge(ret, settings, &found);
	else
		read_gateways(ret, settings, &found);
	if (error_is_set(&found)) {
		error_merge_violations(err, &found);
		return -1;
	}
	network_deny_builtin(ret);
	return 0;
}
