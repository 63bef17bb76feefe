/* SPDX-License-Identifier: Apache-2.0 */

/* Threads that take numbers and give them back: no two ever hold the same one. */

#include "runtime/lease.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

enum {
	THREADS = 8,
	HELD = 12,    /* by a thread, at most */
	NUMBERS = 10, /* fewer than even one thread would hold */
	ROUNDS = 20000,
	FIRST = 1000,
};

static LeasePool *pool;
static atomic_uint holders[NUMBERS];
static atomic_uint shared, strange, refused;

static void hold(uint32_t value)
{
	if (value < FIRST || value >= FIRST + NUMBERS)
		atomic_fetch_add(&strange, 1);
	else if (atomic_fetch_add(&holders[value - FIRST], 1))
		atomic_fetch_add(&shared, 1);
}

static void let_go(uint32_t value)
{
	atomic_fetch_sub(&holders[value - FIRST], 1);
	lease_return(pool, value);
}

static void *work(void *user)
{
	unsigned *seed = user;
	uint32_t held[HELD];
	size_t count = 0;

	for (int i = 0; i < ROUNDS; i++) {
		bool more = count == 0 || (count < HELD && rand_r(seed) % 3);

		if (!more) {
			let_go(held[--count]);
			continue;
		}
		if (lease_take(pool, &held[count]) == 0)
			hold(held[count++]);
		else
			atomic_fetch_add(&refused, 1);
	}
	while (count)
		let_go(held[--count]);
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	unsigned seeds[THREADS];
	uint32_t left = 0, value;

	pool = lease_pool_new(FIRST, NUMBERS);
	for (unsigned i = 0; i < THREADS; i++) {
		seeds[i] = i + 1;
		if (pthread_create(&threads[i], NULL, work, &seeds[i]))
			abort();
	}
	for (size_t i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	while (lease_take(pool, &value) == 0)
		left++;
	lease_pool_free(pool);

	printf("%u shared, %u of another range, %u of %u left, %u times none\n", shared, strange,
	       left, (unsigned)NUMBERS, refused);
	return shared || strange || left != NUMBERS || !refused;
}
