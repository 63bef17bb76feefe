/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/huge_pages.h"
#include "runtime/vm.h"

#include <sys/statvfs.h>

/* What the node has room for, where that changes by itself: disk, huge pages, and memory, which has
 * what those have not. */

enum {
	MIB = 1024 * 1024,
};

static uint64_t mib_of(const struct statvfs *fs, uint64_t blocks)
{
	return blocks * fs->f_frsize / MIB;
}

static uint64_t less(uint64_t all, uint64_t reserved)
{
	return all > reserved ? all - reserved : 0;
}

/* @percent of @whole, 0 being no limit; and 1 at least, because GetNode has 0 for none. */
static uint64_t part_of(uint64_t whole, uint64_t percent)
{
	uint64_t part = whole * percent / 100;

	if (!percent)
		return BUDGET_NO_LIMIT;
	return part ? part : 1;
}

/* All but what is looked at. */
Budget *runtime_budget_new(const RuntimeConfig *config)
{
	const Need most = { .of = {
				    [RESOURCE_VCPUS] = part_of(config->cpus, config->cpu_percent),
				    [RESOURCE_VMS] = config->max_vms,
			    } };

	return budget_new(&most);
}

void runtime_look_at_capacity(Runtime *runtime)
{
	const RuntimeConfig *config = &runtime->config;
	uint64_t pages = huge_pages_count(config->huge_pages);
	uint64_t memory = huge_pages_other_memory(config->meminfo);
	uint64_t size = 0, left = 0;
	struct statvfs fs;

	/* One that cannot be looked at takes no more VMs; the store says why. */
	if (statvfs(runtime->state_dir, &fs) == 0) {
		size = mib_of(&fs, fs.f_blocks);
		left = mib_of(&fs, fs.f_bavail);
	}
	budget_set(runtime->budget, RESOURCE_DISK, less(left, config->reserved_disk_mib));
	budget_set(runtime->budget, RESOURCE_HUGE_PAGES, pages);
	budget_set(runtime->budget, RESOURCE_MEMORY,
		   part_of(less(memory, config->reserved_memory_mib), config->memory_percent));
	lock_take(&runtime->lock);
	runtime->memory_mib = memory;
	runtime->disk_mib = size;
	lock_drop(&runtime->lock);
}

void runtime_capacity(Runtime *runtime, NodeCapacity *ret)
{
	*ret = (NodeCapacity){ 0 };
	budget_read(runtime->budget, &ret->allocatable, &ret->taken);
	for (AddressKind kind = ADDRESS_IPV4; kind <= ADDRESS_IPV6; kind++)
		address_book_count(runtime->addresses, kind, &ret->addresses[kind],
				   &ret->addresses_taken[kind]);
	lock_take(&runtime->lock);
	ret->memory_mib = runtime->memory_mib;
	ret->disk_mib = runtime->disk_mib;
	lock_drop(&runtime->lock);
}
