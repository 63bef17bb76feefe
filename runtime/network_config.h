/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The node's network, from the words of its configuration. Safe from any thread. */

#include "runtime/network.h"

/* As in the configuration file, below "network"; "none" where there is nothing. */
typedef struct NetworkSettings {
	const char *mode; /* off, routed or bridge */
	const char *pool4, *pool6;
	const char *uplink;
	const char *bridge;              /* of mode bridge */
	const char *gateway4, *gateway6; /* ADDRESS/LENGTH, of the network that the bridge is of */
	const char *enforcement;         /* auto, bpf or iptables */
	const char *denied;              /* prefixes, with commas between */
	const char *resolvers;           /* addresses, with commas between, or auto: the host's */
	uint64_t new_flows;
} NetworkSettings;

/**
 * network_config_read() - what @settings mean
 * @ret:	uplink and bridge borrow @settings'; max_vms is left alone; denied has the built-in
 * prefixes too
 * @err:	INVALID_REQUEST: every bad key, as "network.pool4"
 */
int network_config_read(NetworkConfig *ret, const NetworkSettings *settings, Error *err) must_check;
