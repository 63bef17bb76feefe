/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/network_place.h"

#include "netfw/rules.h"
#include "netfw/tap.h"

#include <string.h>

const LinkConfig network_links = { .group = 0x6874, .anchor = "hearth-anchor" };
const uint8_t network_gateway_mac[NETWORK_MAC_BYTES] = { 0x02, 0x68, 0x74, 0xff, 0xff, 0xfe };

/* A bridge takes the least of its ports' MACs for its own: this one it never takes. */
static void place_on_bridge(NetworkPlace *ret, const char *bridge)
{
	memcpy(ret->port_mac, ret->guest_mac, sizeof ret->port_mac);
	ret->port_mac[0] = 0xfe;
	ret->tap.mac = ret->port_mac;
	ret->tap.bridge = bridge;
}

int network_place(NetworkPlace *ret, const NetworkConfig *config, const VmResolved *resolved,
		  Error *err)
{
	const VmResolvedInterface *interface = network_interface(resolved);

	*ret = (NetworkPlace){ .tap.filtered = true };
	if (!interface || !interface->host_device || !resolved->network_slot ||
	    network_parse_mac(ret->guest_mac, interface->inner_mac ? interface->inner_mac
								   : interface->guest_mac) < 0)
		return error_set(err, ERROR_NETWORK_SETUP, "the VM has no interface here");
	if (interface->ipv4_address)
		(void)!network_parse_address(&ret->tap.address4, interface->ipv4_address);
	ret->inner4 = ret->tap.address4;
	if (interface->inner_ipv4_address)
		(void)!network_parse_address(&ret->inner4, interface->inner_ipv4_address);
	if (interface->ipv6_address)
		(void)!network_parse_address(&ret->tap.address6, interface->ipv6_address);
	ret->tap.name = interface->host_device;
	ret->tap.mac = network_gateway_mac;
	ret->tap.guest_mac = ret->guest_mac;
	if (config->bridge)
		place_on_bridge(ret, config->bridge);
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

int network_deny_host(NetworkConfig *config, Error *err)
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

typedef struct Finding {
	NetworkFound *found;
	void *user;
} Finding;

static void find_tap(void *user, const char *name, uint32_t ifindex)
{
	const Finding *finding = user;
	char digits[TAP_DIGITS + 1];

	(void)ifindex;
	if (tap_read_name(digits, name))
		finding->found(finding->user, digits);
}

void network_find_taps(NetworkFound *found, void *user)
{
	Finding finding = { found, user };
	Error ignored = { 0 };

	(void)!link_each(&network_links, find_tap, &finding, &ignored); /* looked for again */
}

typedef struct Overlap {
	const NetworkConfig *config;
	Prefix found; /* family 0: none */
} Overlap;

static void look_in_pools(void *user, const Prefix *address)
{
	Overlap *overlap = user;
	bool four = address->family == 4;
	const Prefix *pool = four ? &overlap->config->pool4 : &overlap->config->pool6;
	Prefix first = network_first(pool);

	if (pool->family && prefix_contains(pool, address) && prefix_compare(&first, address) != 0)
		overlap->found = *address;
}

/* A VM would be leased what the host has. The first address is the gateway's, or nobody's. */
static int check_pools(const NetworkConfig *config, Error *err)
{
	Overlap overlap = { .config = config };
	char pool[PREFIX_TEXT_MAX], address[NETWORK_ADDRESS_MAX];
	bool four;

	if (link_each_address(look_in_pools, &overlap, err) < 0)
		return -1;
	if (!overlap.found.family)
		return 0;
	four = overlap.found.family == 4;
	network_address_text(address, &overlap.found);
	return error_set(err, ERROR_NETWORK_CONFIG,
			 "network.pool%d: %s holds an address of this host, %s",
			 overlap.found.family,
			 prefix_format(four ? &config->pool4 : &config->pool6, pool), address);
}

static int add_gateway(const Prefix *gateway, Error *err)
{
	return gateway->family ? link_add_address("lo", gateway, err) : 0;
}

int network_prepare_host(const NetworkConfig *config, Error *err)
{
	if (check_pools(config, err) < 0)
		return -1;
	if (config->bridge)
		return link_check_bridge(config->bridge, err);
	if (rules_enable_forwarding(config->pool6.family != 0, err) < 0 ||
	    add_gateway(&config->gateway4, err) < 0)
		return -1;
	return add_gateway(&config->gateway6, err);
}
