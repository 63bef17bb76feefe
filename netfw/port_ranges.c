/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/port_ranges.h"

enum {
	FIRST_ROOM = 16,
};

void port_ranges_reset(PortRanges *ranges)
{
	ranges->count = 0;
	ranges->any = false;
}

void port_ranges_clear(PortRanges *ranges)
{
	free(ranges->items);
	*ranges = (PortRanges){ .items = NULL };
}

static void add(PortRanges *ranges, PortRange range)
{
	if (ranges->count == ranges->room) {
		ranges->room = ranges->room ? 2 * ranges->room : FIRST_ROOM;
		ranges->items = must_realloc(ranges->items, ranges->room, sizeof *ranges->items);
	}
	ranges->items[ranges->count++] = range;
}

void port_ranges_add(PortRanges *ranges, const EgressPort *ports, size_t count, uint8_t family)
{
	for (size_t i = 0; i < count; i++) {
		uint8_t protocol = ports[i].protocol;

		if (protocol == EGRESS_ANY)
			ranges->any = true;
		if (protocol == EGRESS_ICMP && family == 6)
			protocol = EGRESS_ICMPV6;
		add(ranges, (PortRange){ protocol, ports[i].first, ports[i].last });
	}
	if (count == 0)
		ranges->any = true;
}

static int compare(const void *a, const void *b)
{
	const PortRange *x = a, *y = b;

	return x->protocol != y->protocol ? x->protocol - y->protocol : x->first - y->first;
}

void port_ranges_unite(PortRanges *ranges)
{
	size_t kept = 0;

	if (ranges->count)
		qsort(ranges->items, ranges->count, sizeof *ranges->items, compare);
	for (size_t i = 0; i < ranges->count; i++) {
		const PortRange *range = &ranges->items[i];
		PortRange *last = kept ? &ranges->items[kept - 1] : NULL;

		if (!last || last->protocol != range->protocol || range->first > last->last + 1)
			ranges->items[kept++] = *range;
		else if (range->last > last->last)
			last->last = range->last;
	}
	ranges->count = kept;
}
