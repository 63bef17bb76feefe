/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The network of VMs on a host without BPF: routed taps, filtered by iptables.
 *
 * It lacks, against runtime/network_host.h: checks of source MACs, ARP and
 * neighbour discovery, counters, denied flows as they happen, explanations by
 * what enforces, budgets of new flows, masquerading, and guests reaching each
 * other. Taps that have no rules pass everything, so rules are there before a
 * tap is up and go after it.
 */

#include "runtime/network.h"

/**
 * network_iptables_open() - make it, or take over what an earlier agent made
 * @config:	copied; an uplink is UNSUPPORTED
 * @err:	FIREWALL, NETWORK_SETUP: what this host lacks
 */
int network_iptables_open(Network **ret, const NetworkConfig *config, Error *err) must_check;
