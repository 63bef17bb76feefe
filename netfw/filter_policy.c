/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The content of a slot: two tries, and the slot's part of the trie of ports.
 * A port set's number has the slot's in it, so that sets of two are never
 * mistaken.
 */

#include "netfw/filter_private.h"

#include <assert.h>
#include <errno.h>

static_assert(2 * 65535 <= 1 << (32 - FILTER_SETS_BITS), "a slot's number fits into a set's");

static uint32_t own_set(uint32_t slot, uint32_t set)
{
	return slot << FILTER_SETS_BITS | set;
}

/* The part of a policy that is of one family. */
typedef struct Family {
	FilterMap map;
	const void *keys;
	const struct filter_rule *rules;
	size_t count;
} Family;

/* With the numbers of sets that are the slot's. */
static struct filter_rule *own_rules(const Family *family, uint32_t slot)
{
	struct filter_rule *rules = new0_array(struct filter_rule, family->count);

	for (size_t i = 0; i < family->count; i++) {
		const struct filter_range *set = &family->rules[i].range[0];
		uint32_t own = own_set(slot, set->first | (uint32_t)set->last << 16);

		rules[i] = family->rules[i];
		if (rules[i].range_count == FILTER_PORTS)
			rules[i].range[0] = (struct filter_range){ (__u16)own, (__u16)(own >> 16) };
	}
	return rules;
}

static int write_trie(const Filter *filter, uint32_t slot, const Family *family, Error *err)
{
	cleanup_free struct filter_rule *rules = own_rules(family, slot);
	cleanup_close int trie = -1;
	uint32_t written = (uint32_t)family->count;

	if (filter_publish(filter, family->map, slot, err) < 0)
		return -1;
	trie = filter_inner(filter, family->map, slot);
	if (trie < 0)
		return error_set_errno(err, ERROR_FIREWALL, -trie, "open a policy's slot");
	if (written && bpf_map_update_batch(trie, family->keys, rules, &written, NULL) < 0)
		return error_set_errno(err, ERROR_FIREWALL, errno, "write a policy of %zu prefixes",
				       family->count);
	return 0;
}

static uint32_t set_of(const struct filter_port_key *key)
{
	return (uint32_t)key->set[0] << 24 | (uint32_t)key->set[1] << 16 |
	       (uint32_t)key->set[2] << 8 | key->set[3];
}

static int write_ports(const Filter *filter, uint32_t slot, const FilterTable *table, Error *err)
{
	cleanup_free struct filter_port_key *keys =
		new0_array(struct filter_port_key, table->port_count);
	cleanup_free uint8_t *values = new0_array(uint8_t, table->port_count);
	uint32_t written = (uint32_t)table->port_count;

	for (size_t i = 0; i < table->port_count; i++) {
		uint32_t set = set_of(&table->ports[i]);

		if (set >> FILTER_SETS_BITS)
			return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT,
					       "the policy has more than %d sets of ports",
					       1 << FILTER_SETS_BITS);
		set = own_set(slot, set);
		keys[i] = table->ports[i];
		for (size_t byte = 0; byte < sizeof keys->set; byte++)
			keys[i].set[byte] = (__u8)(set >> (24 - 8 * byte));
	}
	if (written &&
	    bpf_map_update_batch(filter->maps[FILTER_MAP_PORTS], keys, values, &written, NULL) < 0)
		return error_set_errno(err, ERROR_FIREWALL, errno, "write %zu sets of ports",
				       table->port_count);
	return 0;
}

int filter_policy_write(const Filter *filter, uint32_t slot, const FilterTable *table, Error *err)
{
	const Family four = { FILTER_MAP_POLICIES4, table->keys4, table->rules4, table->count4 };
	const Family six = { FILTER_MAP_POLICIES6, table->keys6, table->rules6, table->count6 };

	if (table->count4 > FILTER_TRIE_MAX || table->count6 > FILTER_TRIE_MAX)
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT,
				       "the policy has more than %d prefixes", FILTER_TRIE_MAX);
	/* The tries first: they tell filter_policy_clear() whether there may be ports. */
	if (write_trie(filter, slot, &four, err) < 0 || write_trie(filter, slot, &six, err) < 0)
		return -1;
	return write_ports(filter, slot, table, err);
}

/* Returns whether one of its rules has a set of ports. */
static bool empty_trie(int trie)
{
	/* Of either family. */
	struct filter_key6 key;
	struct filter_rule rule;
	bool has_ports = false;

	for (size_t n = 0; n < FILTER_TRIE_MAX; n++) {
		if (bpf_map_get_next_key(trie, NULL, &key) < 0)
			break;
		if (bpf_map_lookup_elem(trie, &key, &rule) == 0)
			has_ports |= rule.range_count == FILTER_PORTS;
		if (bpf_map_delete_elem(trie, &key) < 0)
			break;
	}
	return has_ports;
}

/* Found first, deleted then: a walk whose key is gone begins again. */
static void delete_ports(const Filter *filter, uint32_t slot)
{
	int ports = filter->maps[FILTER_MAP_PORTS];
	struct filter_port_key key, next, *at = NULL;
	cleanup_free struct filter_port_key *found = NULL;
	size_t count = 0, room = 0;

	for (size_t n = 0; n < FILTER_PORTS_MAX; n++, at = &key) {
		if (bpf_map_get_next_key(ports, at, &next) < 0)
			break;
		key = next;
		if (set_of(&key) >> FILTER_SETS_BITS != slot)
			continue;
		if (count == room) {
			room = room ? 2 * room : 64;
			found = must_realloc(found, room, sizeof *found);
		}
		found[count++] = key;
	}
	for (size_t i = 0; i < count; i++)
		(void)bpf_map_delete_elem(ports, &found[i]);
}

void filter_policy_clear(const Filter *filter, uint32_t slot)
{
	static const FilterMap families[] = { FILTER_MAP_POLICIES4, FILTER_MAP_POLICIES6 };
	bool has_ports = false;

	for (size_t i = 0; i < array_size(families); i++) {
		cleanup_close int trie = filter_inner(filter, families[i], slot);

		if (trie >= 0)
			has_ports |= empty_trie(trie);
	}
	if (has_ports)
		delete_ports(filter, slot);
}
