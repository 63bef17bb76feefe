/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a VM's slot holds besides its policy: flows, counters and budgets.
 */

#include "netfw/filter_private.h"

#include <errno.h>

enum {
	BATCH = 2 * FILTER_FLOWS, /* more than there are: so one batch has them all */
};

typedef struct Flows {
	struct filter_flow_key keys[BATCH];
	struct filter_flow flows[BATCH];
	uint32_t count;
} Flows;

static int read_flows(int map, Flows *ret)
{
	uint32_t batch;

	ret->count = BATCH;
	if (bpf_map_lookup_batch(map, NULL, &batch, ret->keys, ret->flows, &ret->count, NULL) < 0 &&
	    errno != ENOENT)
		return -errno;
	return 0;
}

static int clear_flows(const Filter *filter, uint32_t slot, Error *err)
{
	cleanup_free Flows *flows = new0(Flows);
	cleanup_close int map = -1;
	int r;

	if (filter_publish(filter, FILTER_MAP_FLOWS, slot, err) < 0)
		return -1;
	map = filter_inner(filter, FILTER_MAP_FLOWS, slot);
	r = map < 0 ? map : read_flows(map, flows);
	if (r < 0)
		return error_set_errno(err, ERROR_FIREWALL, -r, "read the flows of slot %u", slot);
	for (uint32_t i = 0; i < flows->count; i++)
		if (bpf_map_delete_elem(map, &flows->keys[i]) < 0 && errno != ENOENT)
			return error_set_errno(err, ERROR_FIREWALL, errno,
					       "clear the flows of slot %u", slot);
	return 0;
}

static int clear_entry(const Filter *filter, FilterMap map, uint32_t index, const void *zero,
		       Error *err)
{
	if (bpf_map_update_elem(filter->maps[map], &index, zero, BPF_ANY) < 0)
		return error_set_errno(err, ERROR_FIREWALL, errno, "clear the counters of a slot");
	return 0;
}

int filter_flows_clear(const Filter *filter, uint32_t slot, Error *err)
{
	static const struct filter_counters no_counters;
	static const struct filter_bucket no_bucket;

	if (clear_flows(filter, slot, err) < 0 ||
	    clear_entry(filter, FILTER_MAP_COUNTERS, 2 * slot, &no_counters, err) < 0 ||
	    clear_entry(filter, FILTER_MAP_COUNTERS, 2 * slot + 1, &no_counters, err) < 0 ||
	    clear_entry(filter, FILTER_MAP_FLOW_BUDGETS, slot, &no_bucket, err) < 0)
		return -1;
	return clear_entry(filter, FILTER_MAP_EVENT_BUDGETS, slot, &no_bucket, err);
}

static bool is_past(const struct filter_flow_key *key, const struct filter_flow *flow, int64_t now)
{
	int64_t age = now - (int64_t)(flow->seen / 1000);

	return age > (int64_t)filter_flow_seconds(key->protocol, flow->tcp) * USEC_PER_SEC;
}

void filter_flows_each(const Filter *filter, uint32_t slot,
		       void (*each)(void *user, const struct filter_flow_key *key), void *user)
{
	cleanup_free Flows *flows = new0(Flows);
	cleanup_close int map = filter_inner(filter, FILTER_MAP_FLOWS, slot);
	int64_t now = clock_mono_us();

	if (map < 0 || read_flows(map, flows) < 0)
		return;
	for (uint32_t i = 0; i < flows->count; i++)
		if (!is_past(&flows->keys[i], &flows->flows[i], now))
			each(user, &flows->keys[i]);
}

/* The programs heed a flow's time themselves; this makes room. */
void filter_flows_tend(const Filter *filter, const uint32_t *slots, size_t count)
{
	cleanup_free Flows *flows = new0(Flows);

	for (size_t n = 0; n < count; n++) {
		cleanup_close int map = filter_inner(filter, FILTER_MAP_FLOWS, slots[n]);
		int64_t now = clock_mono_us();

		if (map < 0 || read_flows(map, flows) < 0)
			continue;
		for (uint32_t i = 0; i < flows->count; i++)
			if (is_past(&flows->keys[i], &flows->flows[i], now))
				(void)bpf_map_delete_elem(map, &flows->keys[i]);
	}
}

int filter_counters(Filter *filter, uint32_t slot, struct filter_counters *from_vm,
		    struct filter_counters *to_vm, Error *err)
{
	uint32_t first = 2 * (slot == FILTER_NO_VM ? filter->max_vms : slot), second = first + 1;
	int map = filter->maps[FILTER_MAP_COUNTERS];

	if (slot != FILTER_NO_VM && slot >= filter->max_vms)
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_MISSING, "there is no slot %u",
				       slot);
	if (bpf_map_lookup_elem(map, &first, from_vm) < 0 ||
	    bpf_map_lookup_elem(map, &second, to_vm) < 0)
		return error_set_errno(err, ERROR_FIREWALL, errno, "read the counters of slot %u",
				       slot);
	return 0;
}
