/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the networks of a host have in common, whatever filters them; for
 * runtime/network_*.c.
 */

#include "netfw/link.h"
#include "runtime/network.h"

extern const LinkConfig network_links;
/* Of the host's end of every tap: what a guest has for its gateway's. */
extern const uint8_t network_gateway_mac[NETWORK_MAC_BYTES];

/* Where a VM is, by what it has been leased. */
typedef struct NetworkPlace {
	LinkTap tap; /* filtered by BPF; refers to the rest, to the record and the configuration */
	Prefix inner4; /* what the guest has for its IPv4 address */
	uint8_t guest_mac[NETWORK_MAC_BYTES];
	uint8_t port_mac[NETWORK_MAC_BYTES]; /* of the tap, on a bridge */
} NetworkPlace;

/* NETWORK_SETUP: the VM has no interface here. */
int network_place(NetworkPlace *ret, const NetworkConfig *config, const VmResolved *resolved,
		  Error *err) must_check;

/* Calls @found for the taps of our group. */
void network_find_taps(NetworkFound *found, void *user);

/* @config's always-denied prefixes, and the host's own addresses as they are now. NETWORK_SETUP,
 * FIREWALL: there are too many. */
int network_deny_host(NetworkConfig *config, Error *err) must_check;

/**
 * network_prepare_host() - forwarding, and the gateways' addresses; of a bridge, that it is there
 * @err:	NETWORK_CONFIG, before anything is touched: a pool has an address of the host;
 *		FIREWALL, NETWORK_SETUP
 */
int network_prepare_host(const NetworkConfig *config, Error *err) must_check;
