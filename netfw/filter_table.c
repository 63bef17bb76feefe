/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/filter_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	PORT_BITS = 16,
	PROTOCOL_BITS = 8,
	SET_BITS = 32,
	GROWTH = 2,
	FIRST_ROOM = 16,
	DEPTH_MAX = 130, /* prefixes that contain each other, of either family */
};

/* What a prefix is in the policy. */
typedef enum PointKind {
	POINT_ANYWHERE, /* a block nobody has named */
	POINT_DENIED,
	POINT_BLOCK,
	POINT_EXCEPT,
} PointKind;

typedef struct Point {
	Prefix prefix;
	PointKind kind;
	uint32_t block; /* its number over all rules */
	const EgressRule *rule;
} Point;

/* A block that applies where the walk is. */
typedef struct Active {
	uint32_t block;
	const EgressRule *rule;
} Active;

typedef struct Range {
	uint8_t protocol;
	uint16_t first, last;
} Range;

/* A prefix that the walk is in; its active blocks are the last ones of the list. */
typedef struct Frame {
	Prefix prefix;
	size_t begin, end;
} Frame;

typedef struct Walk {
	Point *points;
	size_t point_count;
	Frame frames[DEPTH_MAX];
	size_t depth;
	Active *active; /* of all frames, one after the other */
	size_t active_room;
	Range *ranges; /* of the rule in the making */
	size_t range_count, range_room;
	size_t work;
	uint32_t sets;
	FilterTable *table;
	size_t room4, room6, port_room;
} Walk;

static void walk_clear(Walk *walk)
{
	free(walk->points);
	free(walk->active);
	free(walk->ranges);
	filter_table_free(walk->table);
}

/* Makes room for one more of @size bytes in the array @items of @count. */
static void *grow(void *items, size_t *room, size_t count, size_t size)
{
	if (count < *room)
		return items;
	*room = *room ? *room * GROWTH : FIRST_ROOM;
	items = reallocarray(items, *room, size);
	assert(items);
	return items;
}

static int compare_points(const void *a, const void *b)
{
	const Point *x = a, *y = b;
	int order = prefix_compare(&x->prefix, &y->prefix);

	/* At one prefix: first all is taken away, then added, then exceptions taken away. */
	return order ? order : (int)x->kind - (int)y->kind;
}

static void add_block(Walk *walk, const EgressRule *rule, const EgressBlock *block, uint32_t number)
{
	PointKind kind = rule->to_count ? POINT_BLOCK : POINT_ANYWHERE;

	walk->points[walk->point_count++] = (Point){ block->cidr, kind, number, rule };
	for (size_t i = 0; i < block->except_count; i++)
		walk->points[walk->point_count++] =
			(Point){ block->except[i], POINT_EXCEPT, number, rule };
}

static size_t points_of(const EgressPolicy *policy)
{
	size_t count = 0;

	for (size_t i = 0; i < policy->count; i++) {
		const EgressRule *rule = &policy->rules[i];

		count += rule->to_count ? rule->to_count : 2;
		for (size_t j = 0; j < rule->to_count; j++)
			count += rule->to[j].except_count;
	}
	return count;
}

static void collect(Walk *walk, const EgressPolicy *policy, const Prefix *denied,
		    size_t denied_count)
{
	static const EgressBlock everywhere[] = { { .cidr.family = 4 }, { .cidr.family = 6 } };
	uint32_t number = 0;

	walk->points = new0_array(Point, points_of(policy) + denied_count + 1);
	for (size_t i = 0; i < denied_count; i++)
		walk->points[walk->point_count++] = (Point){ denied[i], POINT_DENIED, 0, NULL };
	for (size_t i = 0; i < policy->count; i++) {
		const EgressRule *rule = &policy->rules[i];
		const EgressBlock *blocks = rule->to_count ? rule->to : everywhere;
		size_t count = rule->to_count ? rule->to_count : array_size(everywhere);

		for (size_t j = 0; j < count; j++)
			add_block(walk, rule, &blocks[j], number++);
	}
	qsort(walk->points, walk->point_count, sizeof *walk->points, compare_points);
}

/* Into @prefix, with what applies to where it lies. */
static Frame *enter(Walk *walk, const Prefix *prefix)
{
	Frame *frame;
	size_t begin = 0, end = 0;

	while (walk->depth && !prefix_contains(&walk->frames[walk->depth - 1].prefix, prefix))
		walk->depth--;
	if (walk->depth) {
		begin = walk->frames[walk->depth - 1].begin;
		end = walk->frames[walk->depth - 1].end;
	}
	assert(walk->depth < DEPTH_MAX);
	frame = &walk->frames[walk->depth++];
	*frame = (Frame){ .prefix = *prefix, .begin = end, .end = end };
	for (size_t i = begin; i < end; i++) {
		walk->active =
			grow(walk->active, &walk->active_room, frame->end, sizeof *walk->active);
		walk->active[frame->end++] = walk->active[i];
	}
	return frame;
}

static void take_away(Walk *walk, Frame *frame, uint32_t block)
{
	size_t kept = frame->begin;

	for (size_t i = frame->begin; i < frame->end; i++)
		if (walk->active[i].block != block)
			walk->active[kept++] = walk->active[i];
	frame->end = kept;
}

static void apply(Walk *walk, Frame *frame, const Point *point)
{
	switch (point->kind) {
	case POINT_DENIED:
		frame->end = frame->begin;
		break;
	case POINT_ANYWHERE:
	case POINT_BLOCK:
		walk->active =
			grow(walk->active, &walk->active_room, frame->end, sizeof *walk->active);
		walk->active[frame->end++] = (Active){ point->block, point->rule };
		break;
	case POINT_EXCEPT:
		take_away(walk, frame, point->block);
		break;
	}
}

static int compare_ranges(const void *a, const void *b)
{
	const Range *x = a, *y = b;

	return x->protocol != y->protocol ? x->protocol - y->protocol : x->first - y->first;
}

/* Sorts the ranges and unites those that touch. */
static void unite(Walk *walk)
{
	size_t kept = 0;

	if (walk->range_count)
		qsort(walk->ranges, walk->range_count, sizeof *walk->ranges, compare_ranges);
	for (size_t i = 0; i < walk->range_count; i++) {
		const Range *range = &walk->ranges[i];
		Range *last = kept ? &walk->ranges[kept - 1] : NULL;

		if (!last || last->protocol != range->protocol || range->first > last->last + 1)
			walk->ranges[kept++] = *range;
		else if (range->last > last->last)
			last->last = range->last;
	}
	walk->range_count = kept;
}

/* The ranges of @frame's rules, united; true: whatever the protocol. */
static bool gather(Walk *walk, const Frame *frame)
{
	walk->range_count = 0;
	for (size_t i = frame->begin; i < frame->end; i++) {
		const EgressRule *rule = walk->active[i].rule;

		walk->work += rule->port_count + 1;
		for (size_t j = 0; j < rule->port_count; j++) {
			const EgressPort *port = &rule->ports[j];
			uint8_t protocol = port->protocol;

			if (protocol == EGRESS_ANY)
				return true;
			if (protocol == EGRESS_ICMP && frame->prefix.family == 6)
				protocol = EGRESS_ICMPV6;
			walk->ranges = grow(walk->ranges, &walk->range_room, walk->range_count,
					    sizeof *walk->ranges);
			walk->ranges[walk->range_count++] =
				(Range){ protocol, port->first, port->last };
		}
		if (rule->port_count == 0)
			return true;
	}
	unite(walk);
	return false;
}

static void add_port(Walk *walk, uint32_t set, uint8_t protocol, uint16_t port, unsigned bits)
{
	FilterTable *table = walk->table;
	struct filter_port_key *key;

	table->ports =
		grow(table->ports, &walk->port_room, table->port_count, sizeof *table->ports);
	key = &table->ports[table->port_count++];
	*key = (struct filter_port_key){
		.length = SET_BITS + PROTOCOL_BITS + bits,
		.set = { (__u8)(set >> 24), (__u8)(set >> 16), (__u8)(set >> 8), (__u8)set },
		.protocol = protocol,
		.port = { (__u8)(port >> 8), (__u8)port },
	};
}

/* As the fewest prefixes of ports. */
static void add_range(Walk *walk, uint32_t set, const Range *range)
{
	uint32_t at = range->first;

	while (at <= range->last) {
		unsigned free_bits = 0;

		while (free_bits < PORT_BITS && !(at & (1U << free_bits)) &&
		       at + (2U << free_bits) - 1 <= range->last)
			free_bits++;
		add_port(walk, set, range->protocol, (uint16_t)at, PORT_BITS - free_bits);
		at += 1U << free_bits;
	}
}

static void make_rule(Walk *walk, const Frame *frame, struct filter_rule *ret)
{
	*ret = (struct filter_rule){ .any = gather(walk, frame) };
	if (ret->any)
		return;
	if (walk->range_count <= FILTER_RANGES) {
		ret->range_count = (__u8)walk->range_count;
		for (size_t i = 0; i < walk->range_count; i++) {
			ret->protocol[i] = walk->ranges[i].protocol;
			ret->range[i] = (struct filter_range){ walk->ranges[i].first,
							       walk->ranges[i].last };
		}
		return;
	}
	ret->range_count = FILTER_PORTS;
	ret->range[0] = (struct filter_range){ (__u16)walk->sets, (__u16)(walk->sets >> 16) };
	for (size_t i = 0; i < walk->range_count; i++)
		add_range(walk, walk->sets, &walk->ranges[i]);
	walk->sets++;
}

static void add_node(Walk *walk, const Frame *frame)
{
	FilterTable *table = walk->table;
	const Prefix *prefix = &frame->prefix;
	struct filter_rule rule;

	make_rule(walk, frame, &rule);
	if (prefix->family == 4) {
		size_t room = walk->room4;

		table->keys4 = grow(table->keys4, &room, table->count4, sizeof *table->keys4);
		table->rules4 =
			grow(table->rules4, &walk->room4, table->count4, sizeof *table->rules4);
		table->keys4[table->count4].length = prefix->length;
		memcpy(table->keys4[table->count4].address, prefix->address,
		       sizeof table->keys4->address);
		table->rules4[table->count4++] = rule;
	} else {
		size_t room = walk->room6;

		table->keys6 = grow(table->keys6, &room, table->count6, sizeof *table->keys6);
		table->rules6 =
			grow(table->rules6, &walk->room6, table->count6, sizeof *table->rules6);
		table->keys6[table->count6].length = prefix->length;
		memcpy(table->keys6[table->count6].address, prefix->address,
		       sizeof table->keys6->address);
		table->rules6[table->count6++] = rule;
	}
}

int filter_table_new(FilterTable **ret, const EgressPolicy *policy, const Prefix *denied,
		     size_t denied_count, Error *err)
{
	cleanup_(walk_clear) Walk walk = { .table = new0(FilterTable) };

	collect(&walk, policy, denied, denied_count);
	for (size_t i = 0; i < walk.point_count;) {
		const Prefix *prefix = &walk.points[i].prefix;
		Frame *frame = enter(&walk, prefix);

		for (; i < walk.point_count && prefix_compare(&walk.points[i].prefix, prefix) == 0;
		     i++)
			apply(&walk, frame, &walk.points[i]);
		add_node(&walk, frame);
		if (walk.work > FILTER_TABLE_RANGES)
			return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT,
					       "the policy's rules overlap too often: united they "
					       "have more than %d ports",
					       FILTER_TABLE_RANGES);
	}
	*ret = take_ptr(walk.table);
	return 0;
}

void filter_table_free(FilterTable *table)
{
	if (!table)
		return;
	free(table->keys4);
	free(table->rules4);
	free(table->keys6);
	free(table->rules6);
	free(table->ports);
	free(table);
}
