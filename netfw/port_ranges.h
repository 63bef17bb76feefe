/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What several rules allow together: ranges of ports, united. A plain list, its
 * owner's alone.
 */

#include "netfw/egress_policy.h"

typedef struct PortRange {
	uint8_t protocol; /* as in a packet: ICMP and ICMPv6 differ */
	uint16_t first, last;
} PortRange;

typedef struct PortRanges {
	PortRange *items;
	size_t count, room;
	bool any; /* whatever the protocol: the items say nothing then */
} PortRanges;

/* Empty again; what it has of memory it keeps. */
void port_ranges_reset(PortRanges *ranges);
void port_ranges_clear(PortRanges *ranges);

/* Adds @ports, @count of them, none meaning any, as they are for addresses of @family. */
void port_ranges_add(PortRanges *ranges, const EgressPort *ports, size_t count, uint8_t family);

/* Sorts, and unites those that touch. */
void port_ranges_unite(PortRanges *ranges);
