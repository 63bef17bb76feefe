/* SPDX-License-Identifier: Apache-2.0 */
#include "netfw/filter.h"

#include "base/file.h"
#include "netfw/filter_private.h"

#include <errno.h>
#include <string.h>

void filter_claim(Filter *filter)
{
	lock_take(&filter->lock);
	while (filter->claimed)
		cond_wait(&filter->released, &filter->lock);
	filter->claimed = true;
	lock_drop(&filter->lock);
}

void filter_release(Filter *filter)
{
	lock_take(&filter->lock);
	filter->claimed = false;
	cond_signal(&filter->released);
	lock_drop(&filter->lock);
}

/* What was pinned for nothing must not stay. */
static void filter_abandon(Filter *filter)
{
	if (filter->fresh)
		filter_unpin(filter->dir);
	filter_close(filter);
}
DEFINE_CLEANUP(Filter *, filter_abandon);

int filter_open(Filter **ret, const FilterConfig *config, Error *err)
{
	cleanup_(filter_abandonp) Filter *filter = new0(Filter);

	lock_init(&filter->lock);
	cond_init(&filter->released);
	for (FilterMap map = 0; map < FILTER_MAP_COUNT_; map++)
		filter->maps[map] = -1;
	if (config->max_vms < 1 || config->max_vms > UINT16_MAX)
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_INPUT,
				       "max_vms is %u, and not 1 to %d", config->max_vms,
				       UINT16_MAX);
	if (filter_load(filter, config, err) < 0 || filter_slots_adopt(filter, err) < 0 ||
	    filter_names_adopt(filter, err) < 0 ||
	    filter_publish(filter, FILTER_MAP_POLICIES4, 0, err) < 0 ||
	    filter_publish(filter, FILTER_MAP_POLICIES6, 0, err) < 0 ||
	    filter_publish(filter, FILTER_MAP_FLOWS, 0, err) < 0 ||
	    filter_events_open(filter, err) < 0)
		return -1;
	*ret = take_ptr(filter);
	return 0;
}

void filter_close(Filter *filter)
{
	if (!filter)
		return;
	ring_buffer__free(filter->events);
	bpf_object__close(filter->explainer);
	bpf_object__close(filter->object);
	for (uint32_t i = 0; filter->slots && i < 2 * filter->max_vms; i++)
		free(filter->slots[i].content);
	free(filter->slots);
	filter_names_free(filter);
	cond_destroy(&filter->released);
	free(filter);
}

void filter_unpin(const char *pin_dir)
{
	if (file_remove_tree(pin_dir) < 0)
		(void)rmdir(pin_dir); /* a file system's root stays, empty */
}

static int program_fd(const Filter *filter, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(filter->object, name));
}

int filter_from_vm_fd(const Filter *filter)
{
	return program_fd(filter, "from_vm");
}

int filter_to_vm_fd(const Filter *filter)
{
	return program_fd(filter, "to_vm");
}

int filter_find_vm(const Filter *filter, uint32_t ifindex, struct filter_vm *ret, Error *err)
{
	if (bpf_map_lookup_elem(filter->maps[FILTER_MAP_VMS], &ifindex, ret) == 0)
		return 0;
	if (errno == ENOENT)
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_MISSING,
				       "the filter knows no VM at interface %u", ifindex);
	return error_set_errno(err, ERROR_FIREWALL, errno, "look up interface %u", ifindex);
}

static int put_vm(const Filter *filter, uint32_t ifindex, const struct filter_vm *entry, Error *err)
{
	if (bpf_map_update_elem(filter->maps[FILTER_MAP_VMS], &ifindex, entry, BPF_ANY) == 0)
		return 0;
	if (errno == E2BIG)
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_EXHAUSTED,
				       "the filter has %u VMs already", filter->max_vms);
	return error_set_errno(err, ERROR_FIREWALL, errno, "make interface %u known", ifindex);
}

static void describe(const FilterVm *vm, struct filter_vm *ret)
{
	*ret = (struct filter_vm){ .slot = vm->slot, .new_flows = vm->new_flows };

	if (vm->log)
		ret->flags |= FILTER_LOG;
	if (vm->bridged)
		ret->flags |= FILTER_BRIDGED;
	if (vm->has4) {
		memcpy(ret->guest4, vm->guest4, sizeof ret->guest4);
		memcpy(ret->host4, vm->host4, sizeof ret->host4);
		memcpy(ret->gateway4, vm->gateway4, sizeof ret->gateway4);
		if (memcmp(vm->guest4, vm->host4, sizeof vm->guest4) != 0)
			ret->flags |= FILTER_NAT;
	}
	if (vm->has6) {
		memcpy(ret->guest6, vm->guest6, sizeof ret->guest6);
		memcpy(ret->gateway6, vm->gateway6, sizeof ret->gateway6);
	}
	memcpy(ret->guest_mac, vm->guest_mac, sizeof ret->guest_mac);
	memcpy(ret->gateway_mac, vm->gateway_mac, sizeof ret->gateway_mac);
}

static NameRules *names_of(const Filter *filter, uint32_t slot)
{
	NameRules *rules = filter->names[slot].rules;

	return rules ? name_rules_ref(rules) : NULL;
}

/*
 * Of @ifindex's entry @old, if there is one; a policy that is the same is as it was. The pins
 * first: the new generation has every flow looked at anew.
 */
static int exchange(Filter *filter, uint32_t ifindex, const struct filter_vm *old,
		    struct filter_vm *entry, const FilterTable *table, Error *err)
{
	cleanup_(name_rules_unrefp) NameRules *before = names_of(filter, entry->slot);
	bool names = table->names || (old && (old->flags & FILTER_NAMES));

	if (filter_slot_take(filter, table, &entry->policy, err) < 0)
		return -1;
	entry->generation = 1;
	entry->flags = (entry->flags & ~(__u32)FILTER_NAMES) | (table->names ? FILTER_NAMES : 0);
	if (old)
		entry->generation = old->generation + (names || old->policy != entry->policy);
	filter_names_set(filter, entry->slot, table->names);
	if (put_vm(filter, ifindex, entry, err) < 0) {
		filter_slot_drop(filter, entry->policy);
		filter_names_set(filter, entry->slot, before);
		return -1;
	}
	if (old)
		filter_slot_drop(filter, old->policy);
	return 0;
}

static int add_vm(Filter *filter, const FilterVm *vm, const FilterTable *table, Error *err)
{
	struct filter_vm entry, old;
	bool known = bpf_map_lookup_elem(filter->maps[FILTER_MAP_VMS], &vm->ifindex, &old) == 0;

	if (!(known && old.slot == vm->slot)) {
		filter_names_set(filter, vm->slot, NULL);
		if (filter_flows_clear(filter, vm->slot, err) < 0)
			return -1;
	}
	describe(vm, &entry);
	return exchange(filter, vm->ifindex, known ? &old : NULL, &entry, table, err);
}

int filter_add_vm(Filter *filter, const FilterVm *vm, const FilterTable *table, Error *err)
{
	int r;

	if (vm->slot >= filter->max_vms)
		return error_set_cause(err, ERROR_FIREWALL, CAUSE_EXHAUSTED,
				       "slot %u of a filter that is made for %u VMs", vm->slot,
				       filter->max_vms);
	filter_claim(filter);
	r = add_vm(filter, vm, table, err);
	filter_release(filter);
	return r;
}

static int set_policy(Filter *filter, uint32_t ifindex, const FilterTable *table, Error *err)
{
	struct filter_vm entry, old;

	if (filter_find_vm(filter, ifindex, &old, err) < 0)
		return -1;
	entry = old;
	return exchange(filter, ifindex, &old, &entry, table, err);
}

int filter_set_policy(Filter *filter, uint32_t ifindex, const FilterTable *table, Error *err)
{
	int r;

	filter_claim(filter);
	r = set_policy(filter, ifindex, table, err);
	filter_release(filter);
	return r;
}

static int remove_vm(Filter *filter, uint32_t ifindex, Error *err)
{
	struct filter_vm old;

	if (bpf_map_lookup_elem(filter->maps[FILTER_MAP_VMS], &ifindex, &old) < 0 &&
	    errno == ENOENT)
		return 0;
	if (bpf_map_delete_elem(filter->maps[FILTER_MAP_VMS], &ifindex) < 0)
		return error_set_errno(err, ERROR_FIREWALL, errno, "forget interface %u", ifindex);
	filter_slot_drop(filter, old.policy);
	if (old.slot < filter->max_vms)
		filter_names_set(filter, old.slot, NULL);
	return 0;
}

int filter_remove_vm(Filter *filter, uint32_t ifindex, Error *err)
{
	int r;

	filter_claim(filter);
	r = remove_vm(filter, ifindex, err);
	filter_release(filter);
	return r;
}

/* Those that are known now, and their slots: the caller's to free. */
static size_t list_vms(Filter *filter, uint32_t **ifindexes, uint32_t **slots)
{
	int map = filter->maps[FILTER_MAP_VMS];
	uint32_t key, *at = NULL;
	struct filter_vm vm;
	size_t count = 0;

	*ifindexes = new0_array(uint32_t, filter->max_vms);
	*slots = new0_array(uint32_t, filter->max_vms);
	filter_claim(filter);
	for (; count < filter->max_vms && bpf_map_get_next_key(map, at, &key) == 0; at = &key) {
		if (bpf_map_lookup_elem(map, &key, &vm) < 0)
			continue;
		(*ifindexes)[count] = key;
		(*slots)[count++] = vm.slot;
	}
	filter_release(filter);
	return count;
}

int filter_each_vm(Filter *filter, void (*each)(void *user, uint32_t ifindex, uint32_t slot),
		   void *user)
{
	cleanup_free uint32_t *ifindexes = NULL, *slots = NULL;
	size_t count = list_vms(filter, &ifindexes, &slots);

	for (size_t i = 0; i < count; i++)
		each(user, ifindexes[i], slots[i]);
	return 0;
}

void filter_tend(Filter *filter)
{
	cleanup_free uint32_t *ifindexes = NULL, *slots = NULL;
	size_t count = list_vms(filter, &ifindexes, &slots);
	uint32_t unused = 0;

	for (size_t i = 0; i < count; i++)
		if (slots[i] >= unused)
			unused = slots[i] + 1;
	filter_claim(filter);
	filter_slots_tend(filter, unused);
	for (size_t i = 0; i < count; i++)
		filter_names_tend(filter, slots[i]);
	filter_release(filter);
	filter_flows_tend(filter, slots, count);
}
