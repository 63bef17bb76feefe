/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/filter_table.h"

#include "netfw/port_ranges.h"

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
	PortRanges ranges; /* of the rule in the making */
	size_t work;
	uint32_t sets;
	FilterTable *table;
	size_t room4, room6, port_room;
} Walk;

static void walk_clear(Walk *walk)
{
	free(walk->points);
	free(walk->active);
	port_ranges_clear(&walk->ranges);
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
	PointKind kind = egress_rule_is_everywhere(rule) ? POINT_ANYWHERE : POINT_BLOCK;

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

		count += egress_rule_is_everywhere(rule) ? 2 : rule->to_count;
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
		bool any = egress_rule_is_everywhere(rule);
		const EgressBlock *blocks = any ? everywhere : rule->to;
		size_t count = any ? array_size(everywhere) : rule->to_count;

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

/* The ports of @frame's rules, united. */
static void gather(Walk *walk, const Frame *frame)
{
	port_ranges_reset(&walk->ranges);
	for (size_t i = frame->begin; i < frame->end && !walk->ranges.any; i++) {
		const EgressRule *rule = walk->active[i].rule;

		walk->work += rule->port_count + 1;
		port_ranges_add(&walk->ranges, rule->ports, rule->port_count, frame->prefix.family);
	}
	port_ranges_unite(&walk->ranges);
}

size_t filter_rule_fill(struct filter_rule *ret, const PortRanges *ranges, size_t from)
{
	*ret = (struct filter_rule){ .any = ranges->any };
	if (ranges->any)
		return 0;
	for (; from < ranges->count && ret->range_count < FILTER_RANGES; from++) {
		const PortRange *range = &ranges->items[from];

		ret->protocol[ret->range_count] = range->protocol;
		ret->range[ret->range_count++] = (struct filter_range){ range->first, range->last };
	}
	return ranges->count - from;
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
static void add_range(Walk *walk, uint32_t set, const PortRange *range)
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
	const PortRanges *ranges = &walk->ranges;

	gather(walk, frame);
	if (filter_rule_fill(ret, ranges, 0) == 0)
		return;
	*ret = (struct filter_rule){ .range_count = FILTER_PORTS };
	ret->range[0] = (struct filter_range){ (__u16)walk->sets, (__u16)(walk->sets >> 16) };
	for (size_t i = 0; i < ranges->count; i++)
		add_range(walk, walk->sets, &ranges->items[i]);
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
	walk.table->names = name_rules_new(policy, denied, denied_count);
	port_ranges_reset(&walk.ranges);
	name_rules_all_ports(walk.table->names, &walk.ranges);
	if (!walk.ranges.any && walk.ranges.count > (size_t)FILTER_PIN_PARTS * FILTER_RANGES)
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT,
				       "the policy's rules with names have %zu ranges of ports "
				       "together; at most %d",
				       walk.ranges.count, FILTER_PIN_PARTS * FILTER_RANGES);
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
	name_rules_unref(table->names);
	free(table);
}
