/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_place.h"

#include "netfw/rules.h"

const LinkConfig network_links = { .group = 0x6874, .anchor = "hearth-anchor" };
const uint8_t network_gateway_mac[NETWORK_MAC_BYTES] = { 0x02, 0x68, 0x74, 0xff, 0xff, 0xfe };

int network_place(NetworkPlace *ret, const VmResolved *resolved, Error *err)
{
	const VmResolvedInterface *interface = network_interface(resolved);

	*ret = (NetworkPlace){ .tap.filtered = true };
	if (!interface || !interface->host_device || !resolved->network_slot ||
	    network_parse_mac(ret->guest_mac, interface->guest_mac) < 0)
		return error_set(err, ERROR_NETWORK_SETUP, "the VM has no interface here");
	if (interface->ipv4_address)
		(void)!network_parse_address(&ret->tap.address4, interface->ipv4_address);
	if (interface->ipv6_address)
		(void)!network_parse_address(&ret->tap.address6, interface->ipv6_address);
	ret->tap.name = interface->host_device;
	ret->tap.mac = network_gateway_mac;
	ret->tap.guest_mac = ret->guest_mac;
	return 0;
}

/* The host itself is reached by naming it alone. */
static void deny_own(void *user, const Prefix *address)
{
	NetworkConfig *config = user;

	for (size_t i = 0; i < config->denied_count && i < NETWORK_DENIED_MAX; i++)
		if (prefix_contains(&config->denied[i], address))
			return;
	if (config->denied_count < NETWORK_DENIED_MAX)
		config->denied[config->denied_count] = *address;
	config->denied_count++;
}

static int deny_host(NetworkConfig *config, Error *err)
{
	if (link_each_address(deny_own, config, err) < 0)
		return -1;
	if (config->denied_count > NETWORK_DENIED_MAX)
		return error_set(err, ERROR_FIREWALL,
				 "with the host's addresses there are %zu always-denied prefixes, "
				 "at most %d",
				 config->denied_count, NETWORK_DENIED_MAX);
	return 0;
}

static int add_gateway(const Prefix *pool, Error *err)
{
	Prefix gateway;

	return network_gateway(pool, &gateway) ? link_add_address("lo", &gateway, err) : 0;
}

int network_prepare_host(NetworkConfig *config, Error *err)
{
	if (deny_host(config, err) < 0 ||
	    rules_enable_forwarding(config->pool6.family != 0, err) < 0 ||
	    add_gateway(&config->pool4, err) < 0)
		return -1;
	return add_gateway(&config->pool6, err);
}
