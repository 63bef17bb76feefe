/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lease.h"

#include "base/lock.h"

#include <assert.h>

struct LeasePool {
	uint32_t first, count;
	Lock lock;
	uint32_t next; /* under lock: where to look first */
	bool *is_out;  /* under lock */
};

LeasePool *lease_pool_new(uint32_t first, uint32_t count)
{
	LeasePool *pool = new0(LeasePool);

	pool->first = first;
	pool->count = count;
	lock_init(&pool->lock);
	pool->is_out = new0_array(bool, count);
	return pool;
}

void lease_pool_free(LeasePool *pool)
{
	if (!pool)
		return;
	free(pool->is_out);
	free(pool);
}

int lease_take(LeasePool *pool, uint32_t *ret)
{
	int r = -ENOSPC;

	lock_take(&pool->lock);
	for (uint32_t tried = 0; tried < pool->count && r < 0; tried++) {
		uint32_t i = pool->next;

		pool->next = i + 1 == pool->count ? 0 : i + 1;
		if (pool->is_out[i])
			continue;
		pool->is_out[i] = true;
		*ret = pool->first + i;
		r = 0;
	}
	lock_drop(&pool->lock);
	return r;
}

static bool has(const LeasePool *pool, uint32_t number)
{
	return number >= pool->first && number - pool->first < pool->count;
}

int lease_claim(LeasePool *pool, uint32_t number)
{
	bool was_out;

	if (!has(pool, number))
		return -ERANGE;
	lock_take(&pool->lock);
	was_out = pool->is_out[number - pool->first];
	pool->is_out[number - pool->first] = true;
	lock_drop(&pool->lock);
	return was_out ? -EEXIST : 0;
}

void lease_return(LeasePool *pool, uint32_t number)
{
	if (!has(pool, number))
		return;
	lock_take(&pool->lock);
	assert(pool->is_out[number - pool->first]);
	pool->is_out[number - pool->first] = false;
	lock_drop(&pool->lock);
}
