/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_iptables.h"

#include "base/text.h"
#include "netfw/iptables.h"
#include "netfw/rules.h"
#include "netfw/tap.h"
#include "runtime/egress.h"
#include "runtime/network_place.h"

typedef struct IptablesNetwork {
	Network network;
	NetworkConfig config;
} IptablesNetwork;

static IptablesNetwork *iptables_of(Network *network)
{
	return container_of(network, IptablesNetwork, network);
}

static int check(Network *network, const VmSpec *spec, Error *err)
{
	cleanup_(egress_unrefp) Egress *egress = NULL;

	(void)network;
	return egress_read(&egress, spec->egress, "spec.egress", err);
}

/* Puts @spec's policy in force for the VM that has @resolved. */
static int apply(const IptablesNetwork *own, const NetworkPlace *place, const char *instance_id,
		 const VmSpec *spec, Error *err)
{
	cleanup_(egress_unrefp) Egress *egress = NULL;
	const IptablesVm vm = {
		.id = instance_id,
		.tap = place->tap.name,
		.address4 = place->tap.address4,
		.address6 = place->tap.address6,
	};

	if (egress_read(&egress, spec->egress, "spec.egress", err) < 0)
		return -1;
	return iptables_apply(&vm, egress_policy(egress), own->config.denied,
			      own->config.denied_count, err);
}

static int attach(Network *network, Job *job, Error *err)
{
	const IptablesNetwork *own = iptables_of(network);
	const char *instance_id = job->resolved->instance_id;
	Error ignored = { 0 };
	NetworkPlace place;
	uint32_t ifindex;

	if (network_place(&place, &iptables_of(network)->config, job->resolved, err) < 0)
		return -1;
	place.tap.filtered = false;
	if (apply(own, &place, instance_id, job->spec, err) < 0)
		return -1;
	if (link_up(&ifindex, &network_links, &place.tap, err) < 0) {
		(void)!iptables_remove(instance_id, &ignored);
		return -1;
	}
	network_interface(job->resolved)->enforcement = VM_ENFORCEMENT_IPTABLES;
	return 0;
}

static int detach(Network *network, const char *instance_id, Error *err)
{
	char name[TAP_NAME_MAX];

	(void)network;
	tap_name(name, instance_id, 0);
	if (!link_index(name))
		return 0;
	return link_down(name, err) < 0 ? -1 : iptables_remove(instance_id, err);
}

static int set_policy(Network *network, const VmResolved *resolved, const VmSpec *to, Error *err)
{
	NetworkPlace place;

	if (network_place(&place, &iptables_of(network)->config, resolved, err) < 0)
		return -1;
	return apply(iptables_of(network), &place, resolved->instance_id, to, err);
}

static void find(Network *network, NetworkFound *found, void *user)
{
	Error ignored = { 0 };

	(void)network;
	(void)!iptables_each(found, user, &ignored); /* they are looked for again */
	network_find_taps(found, user);
}

static int remove_rules(Network *network, const char *mark, Error *err)
{
	(void)network;
	return iptables_remove(mark, err);
}

static int look(Network *network, char *ret, size_t size, Error *err)
{
	(void)network;
	if (iptables_probe(err) < 0)
		return -1;
	text_copy(ret, size, "routed, filtered by iptables, " NETWORK_IPTABLES_LACKS);
	return 1;
}

static void free_network(Network *network)
{
	free(iptables_of(network));
}

int network_iptables_open(Network **ret, const NetworkConfig *config, Error *err)
{
	static const NetworkOps ops = {
		.leases = true,
		.enforcement = VM_ENFORCEMENT_IPTABLES,
		.check = check,
		.attach = attach,
		.detach = detach,
		.find = find,
		.remove = remove_rules,
		.set_policy = set_policy,
		.look = look,
		.free = free_network,
	};
	/* Of an agent that had BPF: nothing of these taps would pass its interlock. */
	static const RulesConfig interlock = { .table = "hearth", .tap_prefix = TAP_PREFIX };
	cleanup_free IptablesNetwork *own = new0(IptablesNetwork);

	own->network.ops = &ops;
	own->network.length4 = config->length4;
	own->config = *config;
	if (!text_equal(config->uplink, ""))
		return error_set(err, ERROR_UNSUPPORTED,
				 "network.uplink where egress is enforced by iptables");
	if (iptables_probe(err) < 0 || network_deny_host(&own->config, err) < 0 ||
	    network_prepare_host(&own->config, err) < 0)
		return -1;
	rules_remove(&interlock);
	own->config.uplink = NULL;
	*ret = &take_ptr(own)->network;
	return 0;
}
