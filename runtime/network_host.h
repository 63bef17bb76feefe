/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The network of VMs on this host: routed taps, filtered by BPF.
 *
 * Each VM has a tap, a route to its address and nothing else of the host: no
 * bridge, no neighbour. Its gateway's address is on the host's loopback
 * interface; what the guest asks its neighbours for, the filter answers.
 * Static rules (netfw/rules.h) drop what has not passed the filter and
 * masquerade what leaves by the uplink. All of it goes on while no agent runs,
 * and the next one takes it over.
 *
 * One on a host: names of links, tables and pins are fixed, and pins are in one
 * file system whatever the network namespace.
 */

#include "runtime/network.h"

/**
 * network_host_open() - make it, or take over what an earlier agent made
 * @config:	copied
 * @err:	FIREWALL, NETWORK_SETUP: what this host lacks
 */
int network_host_open(Network **ret, const NetworkConfig *config, Error *err) must_check;
