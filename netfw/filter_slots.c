/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Slots of policies, shared by content, and the inner maps in them, which are
 * made ahead: the kernel takes as long for one as for many.
 */

#include "base/text.h"
#include "netfw/filter_private.h"

#include <errno.h>
#include <string.h>

typedef struct Inner {
	enum bpf_map_type type;
	uint32_t key_size, value_size, entries, flags;
} Inner;

/* clang-format off */
static const Inner inners[] = {
	[FILTER_MAP_POLICIES4] = { BPF_MAP_TYPE_LPM_TRIE, sizeof(struct filter_key4),
		sizeof(struct filter_rule), FILTER_TRIE_MAX, BPF_F_NO_PREALLOC },
	[FILTER_MAP_POLICIES6] = { BPF_MAP_TYPE_LPM_TRIE, sizeof(struct filter_key6),
		sizeof(struct filter_rule), FILTER_TRIE_MAX, BPF_F_NO_PREALLOC },
	[FILTER_MAP_FLOWS] = { BPF_MAP_TYPE_LRU_HASH, sizeof(struct filter_flow_key),
		sizeof(struct filter_flow), FILTER_FLOWS, 0 },
};
/* clang-format on */

int filter_inner(const Filter *filter, FilterMap map, uint32_t index)
{
	uint32_t id;
	int fd;

	if (bpf_map_lookup_elem(filter->maps[map], &index, &id) < 0)
		return -errno;
	fd = bpf_map_get_fd_by_id(id);
	return fd < 0 ? -errno : fd;
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		(void)close(fds[i]);
}

static int make_inner(const Inner *inner, int *ret, uint32_t count, Error *err)
{
	struct bpf_map_create_opts options = { .sz = FILTER_OPTIONS_SIZE(bpf_map_create_opts),
					       .map_flags = inner->flags };

	for (uint32_t i = 0; i < count; i++) {
		ret[i] = bpf_map_create(inner->type, "hearth", inner->key_size, inner->value_size,
					inner->entries, &options);
		if (ret[i] < 0) {
			int saved = errno;

			close_all(ret, i);
			return error_set_errno(err, ERROR_FIREWALL, saved, "make a map");
		}
	}
	return 0;
}

static uint32_t entries_of(const Filter *filter, FilterMap map)
{
	return map == FILTER_MAP_FLOWS ? filter->max_vms : 2 * filter->max_vms;
}

int filter_publish(const Filter *filter, FilterMap map, uint32_t index, Error *err)
{
	uint32_t first = index / FILTER_CHUNK * FILTER_CHUNK, id;
	uint32_t count = entries_of(filter, map) - first, keys[FILTER_CHUNK], published;
	int fds[FILTER_CHUNK] = { 0 }, r, saved;

	if (bpf_map_lookup_elem(filter->maps[map], &index, &id) == 0)
		return 0;
	if (count > FILTER_CHUNK)
		count = FILTER_CHUNK;
	for (uint32_t i = 0; i < count; i++)
		keys[i] = first + i;
	if (make_inner(&inners[map], fds, count, err) < 0)
		return -1;
	published = count;
	r = bpf_map_update_batch(filter->maps[map], keys, fds, &published, NULL);
	saved = errno;
	close_all(fds, count);
	return r < 0 ? error_set_errno(err, ERROR_FIREWALL, saved, "publish maps") : 0;
}

static void append(char **at, const void *bytes, size_t size)
{
	if (size)
		memcpy(*at, bytes, size);
	*at += size;
}

/* All there is of @table, in a row. */
static void *flatten(const FilterTable *table, size_t *size)
{
	const size_t counts[] = { table->count4, table->count6, table->port_count };
	char *content, *at;

	*size = sizeof counts + table->count4 * (sizeof *table->keys4 + sizeof *table->rules4) +
		table->count6 * (sizeof *table->keys6 + sizeof *table->rules6) +
		table->port_count * sizeof *table->ports;
	content = at = must_calloc(*size, 1);
	append(&at, counts, sizeof counts);
	append(&at, table->keys4, table->count4 * sizeof *table->keys4);
	append(&at, table->rules4, table->count4 * sizeof *table->rules4);
	append(&at, table->keys6, table->count6 * sizeof *table->keys6);
	append(&at, table->rules6, table->count6 * sizeof *table->rules6);
	append(&at, table->ports, table->port_count * sizeof *table->ports);
	return content;
}

static void forget(const Filter *filter, uint32_t slot)
{
	free(filter->slots[slot].content);
	filter->slots[slot] = (FilterSlot){ 0 };
}

static bool is_over(const FilterSlot *slot, int64_t now)
{
	return slot->used && slot->references == 0 && now - slot->idle_since >= FILTER_IDLE_US;
}

/* Packets may still be in a policy that was exchanged a moment ago. */
static void empty_idle(const Filter *filter)
{
	int64_t now = clock_mono_us();

	for (uint32_t i = 0; i < 2 * filter->max_vms; i++) {
		if (!is_over(&filter->slots[i], now))
			continue;
		filter_policy_clear(filter, i);
		forget(filter, i);
	}
}

/* The slot that has @content, else a free one, else none. */
static FilterSlot *choose(const Filter *filter, const void *content, size_t size, uint64_t hash)
{
	FilterSlot *unused = NULL;

	for (uint32_t i = 0; i < 2 * filter->max_vms; i++) {
		FilterSlot *slot = &filter->slots[i];

		if (slot->content && slot->hash == hash && slot->size == size &&
		    memcmp(slot->content, content, size) == 0)
			return slot;
		if (!slot->used && !unused)
			unused = slot;
	}
	return unused;
}

int filter_slot_take(Filter *filter, const FilterTable *table, uint32_t *ret, Error *err)
{
	size_t size;
	cleanup_free void *content = flatten(table, &size);
	uint64_t hash = text_hash(content, size); /* who collides is compared */
	FilterSlot *slot = choose(filter, content, size, hash);
	uint32_t index;

	if (!slot) {
		empty_idle(filter);
		slot = choose(filter, content, size, hash);
	}
	if (!slot)
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_EXHAUSTED,
				       "there is no slot for one more policy: all %u are in use",
				       2 * filter->max_vms);
	index = (uint32_t)(slot - filter->slots);
	if (!slot->used) {
		if (filter_policy_write(filter, index, table, err) < 0) {
			filter_policy_clear(filter, index);
			return -1;
		}
		*slot = (FilterSlot){ .used = true, .hash = hash, .size = size };
		slot->content = take_ptr(content);
	}
	slot->references++;
	*ret = index;
	return 0;
}

void filter_slot_drop(Filter *filter, uint32_t slot)
{
	FilterSlot *dropped;

	if (slot >= 2 * filter->max_vms)
		return;
	dropped = &filter->slots[slot];
	if (dropped->references && --dropped->references == 0)
		dropped->idle_since = clock_mono_us();
}

int filter_slots_adopt(Filter *filter, Error *err)
{
	uint32_t key, *at = NULL;
	struct filter_vm vm;

	filter->slots = new0_array(FilterSlot, (size_t)filter->max_vms * 2);
	for (uint32_t n = 0; n < filter->max_vms; n++, at = &key) {
		if (bpf_map_get_next_key(filter->maps[FILTER_MAP_VMS], at, &key) < 0)
			break;
		if (bpf_map_lookup_elem(filter->maps[FILTER_MAP_VMS], &key, &vm) < 0)
			return error_set_errno(err, ERROR_FIREWALL, errno, "read the pinned VMs");
		if (vm.policy >= 2 * filter->max_vms)
			continue;
		filter->slots[vm.policy].used = true;
		filter->slots[vm.policy].references++;
	}
	/* What the agent before was about to empty, or to fill when it ended. */
	for (uint32_t i = 0; i < 2 * filter->max_vms; i++)
		if (!filter->slots[i].used)
			filter_policy_clear(filter, i);
	return 0;
}

/* The next chunk before it is asked for; if that fails, it is tried then. */
static void publish_ahead(const Filter *filter, FilterMap map, uint32_t unused)
{
	Error err = { 0 };

	unused += FILTER_CHUNK / 2;
	if (unused < entries_of(filter, map) && filter_publish(filter, map, unused, &err) < 0)
		error_clear(&err);
}

void filter_slots_tend(Filter *filter, uint32_t unused_flows)
{
	uint32_t unused = 0;

	empty_idle(filter);
	while (unused < 2 * filter->max_vms && filter->slots[unused].used)
		unused++;
	publish_ahead(filter, FILTER_MAP_POLICIES4, unused);
	publish_ahead(filter, FILTER_MAP_POLICIES6, unused);
	publish_ahead(filter, FILTER_MAP_FLOWS, unused_flows);
}
