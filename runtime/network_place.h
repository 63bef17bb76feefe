/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the routed networks of a host have in common, whatever filters them; for
 * runtime/network_*.c.
 */

#include "netfw/link.h"
#include "runtime/network.h"

extern const LinkConfig network_links;
/* Of the host's end of every tap: what a guest has for its gateway's. */
extern const uint8_t network_gateway_mac[NETWORK_MAC_BYTES];

/* Where a VM is, by what it has been leased. */
typedef struct NetworkPlace {
	LinkTap tap; /* routed and filtered by BPF; refers to the rest, and to the record */
	uint8_t guest_mac[NETWORK_MAC_BYTES];
} NetworkPlace;

/* NETWORK_SETUP: the VM has no interface here. */
int network_place(NetworkPlace *ret, const VmResolved *resolved, Error *err) must_check;

/**
 * network_prepare_host() - forwarding, and the gateways' addresses
 * @config:	the host's own addresses become always-denied ones
 * @err:	FIREWALL, NETWORK_SETUP
 */
int network_prepare_host(NetworkConfig *config, Error *err) must_check;
