/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/budget.h"

#include "base/lock.h"

#include <assert.h>

struct Budget {
	Lock lock;
	Need allocatable; /* under lock */
	Need taken;       /* under lock */
};

const char *resource_name(Resource resource)
{
	static const char *const names[] = {
		[RESOURCE_VCPUS] = "vcpus",
		[RESOURCE_MEMORY] = "memory_mib",
		[RESOURCE_HUGE_PAGES] = "huge_pages_2m",
		[RESOURCE_DISK] = "disk_mib",
		[RESOURCE_VMS] = "vms",
	};
	static_assert(array_size(names) == RESOURCE_COUNT_, "name every resource");

	assert(resource < RESOURCE_COUNT_);
	return names[resource];
}

void need_add(Need *need, const Need *more)
{
	for (Resource i = 0; i < RESOURCE_COUNT_; i++)
		need->of[i] += more->of[i];
}

Budget *budget_new(const Need *allocatable)
{
	Budget *budget = new0(Budget);

	lock_init(&budget->lock);
	budget->allocatable = *allocatable;
	return budget;
}

void budget_free(Budget *budget)
{
	free(budget);
}

void budget_set(Budget *budget, Resource resource, uint64_t most)
{
	lock_take(&budget->lock);
	budget->allocatable.of[resource] = most;
	lock_drop(&budget->lock);
}

static int check(Budget *budget, const Need *need, Error *err) lock_requires(budget->lock)
{
	int r = 0;

	for (Resource i = 0; i < RESOURCE_COUNT_; i++) {
		uint64_t most = budget->allocatable.of[i], taken = budget->taken.of[i];
		uint64_t left = most > taken ? most - taken : 0;

		if (most != BUDGET_NO_LIMIT && need->of[i] > left)
			r = error_add_capacity(err, resource_name(i), need->of[i], left);
	}
	return r;
}

int budget_check(Budget *budget, const Need *need, Error *err)
{
	int r;

	lock_take(&budget->lock);
	r = check(budget, need, err);
	lock_drop(&budget->lock);
	return r;
}

int budget_take(Budget *budget, const Need *need, Error *err)
{
	int r;

	lock_take(&budget->lock);
	r = check(budget, need, err);
	if (r == 0)
		need_add(&budget->taken, need);
	lock_drop(&budget->lock);
	return r;
}

void budget_force(Budget *budget, const Need *need)
{
	lock_take(&budget->lock);
	need_add(&budget->taken, need);
	lock_drop(&budget->lock);
}

void budget_give(Budget *budget, const Need *need)
{
	lock_take(&budget->lock);
	for (Resource i = 0; i < RESOURCE_COUNT_; i++) {
		assert(budget->taken.of[i] >= need->of[i]);
		budget->taken.of[i] -= need->of[i];
	}
	lock_drop(&budget->lock);
}

void budget_read(Budget *budget, Need *allocatable, Need *taken)
{
	lock_take(&budget->lock);
	*allocatable = budget->allocatable;
	*taken = budget->taken;
	lock_drop(&budget->lock);
}
