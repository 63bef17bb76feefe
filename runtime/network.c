/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network.h"

#include "base/text.h"
#include "netfw/filter.h"
#include "runtime/egress.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What no policy means when it says "everywhere". */
static const char *const builtin_denied[] = {
	"127.0.0.0/8",    /* loopback */
	"169.254.0.0/16", /* link-local, and where the metadata service is */
	"::1/128",        "fe80::/10", "fd00:ec2::254/128", /* the metadata service of EC2 */
};

typedef struct SoftwareNetwork {
	Network network;
	Prefix denied[NETWORK_DENIED_MAX];
	size_t denied_count;
} SoftwareNetwork;

const char *network_verdict_name(int verdict)
{
	if (verdict == NETWORK_DROP_NAME)
		return "DROP_NAME";
	if (verdict == NETWORK_DROP_LEAD)
		return "DROP_LEAD";
	return filter_verdict_name(verdict);
}

const char *network_verdict_words(int verdict)
{
	if (verdict == NETWORK_DROP_NAME)
		return "no rule has the name";
	if (verdict == NETWORK_DROP_LEAD)
		return "the name leads to an internal address";
	return filter_verdict_words(verdict);
}

int network_parse_mac(uint8_t ret[static NETWORK_MAC_BYTES], const char *text)
{
	unsigned bytes[NETWORK_MAC_BYTES];

	if (strlen(text) != 3 * NETWORK_MAC_BYTES - 1)
		return -EINVAL;
	/* NOLINTNEXTLINE(cert-err34-c): two digits each */
	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
		   &bytes[4], &bytes[5]) != NETWORK_MAC_BYTES)
		return -EINVAL;
	for (size_t i = 0; i < NETWORK_MAC_BYTES; i++)
		ret[i] = (uint8_t)bytes[i];
	return 0;
}

void network_leads_free(NetworkLead *leads, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(leads[i].name);
	free(leads);
}

void network_free(Network *network)
{
	if (network)
		network->ops->free(network);
}

static void deny(NetworkConfig *config, const Prefix *prefix)
{
	assert(config->denied_count < NETWORK_DENIED_MAX);
	config->denied[config->denied_count++] = *prefix;
}

void network_own_gateways(NetworkConfig *config)
{
	config->gateway4 = network_first(&config->pool4);
	config->gateway6 = network_first(&config->pool6);
	config->length4 = config->pool4.length;
}

void network_deny_builtin(NetworkConfig *config)
{
	for (size_t i = 0; i < array_size(builtin_denied); i++) {
		Prefix prefix;

		if (prefix_parse(&prefix, builtin_denied[i]) < 0)
			abort();
		deny(config, &prefix);
	}
	if (config->pool4.family)
		deny(config, &config->pool4);
	if (config->pool6.family)
		deny(config, &config->pool6);
}

Prefix network_first(const Prefix *pool)
{
	Prefix first = *pool;

	if (!pool->family)
		return first;
	first.length = pool->family == 4 ? 32 : 128;
	first.address[first.length / 8 - 1] |= 1;
	return first;
}

int network_parse_address(Prefix *ret, const char *text)
{
	return prefix_parse_address(ret, text);
}

void network_address_text(char ret[static NETWORK_ADDRESS_MAX], const Prefix *address)
{
	ret[0] = '\0';
	if (address->family)
		(void)inet_ntop(address->family == 4 ? AF_INET : AF_INET6, address->address, ret,
				NETWORK_ADDRESS_MAX);
}

VmResolvedInterface *network_interface(const VmResolved *resolved)
{
	VmResolvedInterface *first = resolved->network_interfaces.items;

	return resolved->network_interfaces.count > 0 && first->guest_mac ? first : NULL;
}

int network_attach(Network *network, Job *job, Error *err)
{
	VmResolvedInterface *interface = network_interface(job->resolved);

	if (!network || !network->ops->attach || !interface)
		return 0;
	interface->enforcement = VM_ENFORCEMENT_UNSET;
	return network->ops->attach(network, job, err);
}

int network_detach(Network *network, const char *instance_id, Error *err)
{
	return network && network->ops->detach ? network->ops->detach(network, instance_id, err)
					       : 0;
}

int network_remove(Network *network, const char *mark, Error *err)
{
	return network && network->ops->remove ? network->ops->remove(network, mark, err) : 0;
}

int network_set_policy(Network *network, const VmResolved *resolved, const VmSpec *to, Error *err)
{
	if (!network || !network->ops->set_policy || !network_interface(resolved))
		return 0;
	return network->ops->set_policy(network, resolved, to, err);
}

static bool asks_address(const VmSpec *spec)
{
	const VmInterface *first = spec->network_interfaces.items;

	return spec->network_interfaces.count > 0 &&
	       (!text_equal(first->ipv4_address, "") || !text_equal(first->ipv6_address, ""));
}

/* A policy without rules allows nothing, and nothing passes. */
static int off_check(Network *network, const VmSpec *spec, Error *err)
{
	const char *asked = NULL;

	(void)network;
	if (asks_address(spec))
		asked = "addresses of interfaces";
	else if (spec->egress && spec->egress->rules.count > 0)
		asked = "spec.egress";
	return asked ? error_set(err, ERROR_UNSUPPORTED, "%s: network.mode is off", asked) : 0;
}

static void off_free(Network *network)
{
	free(network);
}

Network *network_off_new(void)
{
	static const NetworkOps ops = {
		.enforcement = VM_ENFORCEMENT_NONE,
		.check = off_check,
		.free = off_free,
	};
	Network *network = new0(Network);

	network->ops = &ops;
	return network;
}

/* What no filter could hold is not taken here either. */
static int software_check(Network *network, const VmSpec *spec, Error *err)
{
	const SoftwareNetwork *software = container_of(network, SoftwareNetwork, network);
	cleanup_(egress_unrefp) Egress *egress = NULL;
	cleanup_(filter_table_freep) FilterTable *table = NULL;

	if (egress_read(&egress, spec->egress, "spec.egress", err) < 0)
		return -1;
	return filter_table_new(&table, egress_policy(egress), software->denied,
				software->denied_count, err);
}

static int software_attach(Network *network, Job *job, Error *err)
{
	(void)network;
	(void)err;
	network_interface(job->resolved)->enforcement = VM_ENFORCEMENT_NONE;
	return 0;
}

static void software_free(Network *network)
{
	free(container_of(network, SoftwareNetwork, network));
}

Network *network_software_new(const NetworkConfig *config)
{
	static const NetworkOps ops = {
		.leases = true,
		.enforcement = VM_ENFORCEMENT_NONE,
		.check = software_check,
		.attach = software_attach,
		.free = software_free,
	};
	SoftwareNetwork *software = new0(SoftwareNetwork);

	software->network.ops = &ops;
	software->network.length4 = config->length4;
	software->network.names = true;
	software->denied_count = config->denied_count;
	for (size_t i = 0; i < config->denied_count; i++)
		software->denied[i] = config->denied[i];
	return &software->network;
}
