/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_names.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "netfw/name_server.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <string.h>

enum {
	RESOLV_CONF_MAX = 65536,
};

static const char resolv_conf[] = "/etc/resolv.conf";

struct NetworkNames {
	NetworkNamesUse use;
	NameServer *server;
};

static NameVerdict allows(void *user, const Prefix *source, const char *name)
{
	const NetworkNames *names = user;
	NameVerdict verdict = NAME_DENIED;
	NetworkVm vm;

	if (!network_vms_find(names->use.vms, source, &vm))
		return NAME_NO_GUEST;
	if (egress_policy_find_name(egress_policy(vm.egress), name, NULL) >= 0)
		verdict = NAME_ALLOWED;
	egress_unref(vm.egress);
	return verdict;
}

/* Its policy may be another by now: the filter looks at that which is in force. */
static int pin(void *user, const Prefix *source, const NameLead *lead, Error *err)
{
	const NetworkNames *names = user;
	NetworkVm vm;

	if (!network_vms_find(names->use.vms, source, &vm))
		return error_set(err, ERROR_FIREWALL, "the VM has gone");
	egress_unref(vm.egress);
	return filter_pin(names->use.filter, vm.ifindex, lead, err);
}

/* As the query's packet, which itself has passed. */
static void refused(void *user, const Prefix *source, const NameRefusal *refusal)
{
	const NetworkNames *names = user;
	NetworkEvent event = {
		.time = clock_wall_us(),
		.verdict = refusal->leads ? NETWORK_DROP_LEAD : NETWORK_DROP_NAME,
		.protocol = EGRESS_UDP,
		.ethertype = source->family == 4 ? ETH_P_IP : ETH_P_IPV6,
		.source = *source,
		.target_port = NAME_PORT,
		.suppressed = refusal->suppressed,
	};
	NetworkVm vm;

	if (!network_vms_find(names->use.vms, source, &vm))
		return;
	egress_unref(vm.egress);
	event.slot = vm.slot;
	text_copy(event.name, sizeof event.name, refusal->name);
	network_teller_tell(names->use.teller, &event);
}

/* "nameserver ADDRESS", as far as there is room (resolv.conf(5)). */
static void add_resolver(NameServerConfig *config, char *line)
{
	static const char key[] = "nameserver";
	char *address = line + strlen(key);

	if (strncmp(line, key, strlen(key)) != 0 || !strchr(" \t", *address) ||
	    config->resolver_count == NAME_RESOLVERS_MAX)
		return;
	address += strspn(address, " \t");
	address[strcspn(address, " \t#;%")] = '\0';
	if (prefix_parse_address(&config->resolvers[config->resolver_count], address) == 0)
		config->resolver_count++;
}

static void read_resolvers(NameServerConfig *config)
{
	cleanup_free char *text = NULL;
	char *rest, *line;

	if (file_read(&text, NULL, resolv_conf, RESOLV_CONF_MAX) < 0)
		return; /* as one that names none */
	rest = text;
	while ((line = strsep(&rest, "\n")))
		add_resolver(config, line);
}

static NameServerConfig describe(const NetworkConfig *config)
{
	static const NameServerOps ops = { allows, pin, refused };
	NameServerConfig ret = { .ops = &ops, .resolver_count = config->resolver_count };
	const Prefix *gateways[] = { &config->gateway4, &config->gateway6 };

	for (size_t i = 0; i < array_size(gateways); i++)
		if (gateways[i]->family)
			ret.listen[ret.listen_count++] = *gateways[i];
	for (size_t i = 0; i < config->resolver_count; i++)
		ret.resolvers[i] = config->resolvers[i];
	if (config->host_resolvers)
		read_resolvers(&ret);
	return ret;
}

void network_names_close(NetworkNames *names)
{
	if (!names)
		return;
	name_server_close(names->server);
	free(names);
}
DEFINE_CLEANUP(NetworkNames *, network_names_close);

int network_names_open(NetworkNames **ret, const NetworkConfig *config, const NetworkNamesUse *use,
		       Error *err)
{
	cleanup_(network_names_closep) NetworkNames *names = new0(NetworkNames);
	NameServerConfig server = describe(config);

	*ret = NULL;
	names->use = *use;
	server.user = names;
	/* On a bridge the gateway is somebody else. */
	if (server.resolver_count == 0 || config->bridge)
		return 0;
	if (name_server_open(&names->server, &server, err) < 0)
		return -1;
	*ret = take_ptr(names);
	return 0;
}

void network_names_tell(NetworkNames *names, char *ret, size_t size)
{
	NameCounters counters;

	if (!names) {
		(void)snprintf(ret, size, "no resolver for names");
		return;
	}
	name_server_counters(names->server, &counters);
	(void)snprintf(ret, size,
		       "names asked for: %" PRIu64 ", answered %" PRIu64 ", denied %" PRIu64
		       ", failed %" PRIu64,
		       counters.queries, counters.answered, counters.denied + counters.filtered,
		       counters.failed);
}

typedef struct Leads {
	NetworkLead *items;
	size_t count;
} Leads;

static void add_lead(void *user, const char *name, const Prefix *address, int64_t seconds)
{
	Leads *leads = user;

	leads->items = must_realloc(leads->items, leads->count + 1, sizeof *leads->items);
	leads->items[leads->count++] = (NetworkLead){ text_dup(name), *address, seconds };
}

size_t network_names_leads(Filter *filter, uint32_t ifindex, NetworkLead **ret)
{
	Leads leads = { .items = NULL };

	filter_each_pin(filter, ifindex, add_lead, &leads);
	*ret = leads.items;
	return leads.count;
}

static size_t gateway_blocks(const NetworkConfig *config, EgressBlock blocks[static 2])
{
	size_t count = 0;

	if (config->gateway4.family)
		blocks[count++].cidr = config->gateway4;
	if (config->gateway6.family)
		blocks[count++].cidr = config->gateway6;
	return count;
}

int network_names_compile(FilterTable **ret, const NetworkConfig *config,
			  const EgressPolicy *policy, Error *err)
{
	static const EgressPort ports[] = { { EGRESS_UDP, NAME_PORT, NAME_PORT },
					    { EGRESS_TCP, NAME_PORT, NAME_PORT } };
	EgressBlock blocks[2] = { 0 };
	cleanup_free EgressRule *rules = NULL;
	EgressPolicy whole;

	if (!egress_policy_has_names(policy))
		return filter_table_new(ret, policy, config->denied, config->denied_count, err);
	rules = new0_array(EgressRule, policy->count + 1);
	for (size_t i = 0; i < policy->count; i++)
		rules[i] = policy->rules[i];
	rules[policy->count] = (EgressRule){ .to = blocks,
					     .to_count = gateway_blocks(config, blocks),
					     .ports = ports,
					     .port_count = array_size(ports) };
	whole = (EgressPolicy){ rules, policy->count + 1 };
	return filter_table_new(ret, &whole, config->denied, config->denied_count, err);
}
