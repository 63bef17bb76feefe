/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/lease.h"

#include <criterion/criterion.h>
#include <signal.h>

enum {
	FIRST = 100000,
};

static void check_empty(LeasePool *pool)
{
	uint32_t value;

	cr_assert_eq(lease_take(pool, &value), -ENOSPC);
}

static uint32_t take(LeasePool *pool)
{
	uint32_t value = 0;

	cr_assert_eq(lease_take(pool, &value), 0);
	return value;
}

Test(lease, each_number_is_given_once_and_then_there_is_none)
{
	static const uint32_t counts[] = { 0, 1, 63, 64, 65, 200 };

	for (size_t i = 0; i < array_size(counts); i++) {
		cleanup_(lease_pool_freep) LeasePool *pool = lease_pool_new(FIRST, counts[i]);
		uint32_t value = 7;

		for (uint32_t k = 0; k < counts[i]; k++)
			cr_assert_eq(take(pool), FIRST + k);

		cr_assert_eq(lease_take(pool, &value), -ENOSPC);
		cr_assert_eq(value, 7);
	}
}

Test(lease, a_number_that_came_back_rests_until_its_turn)
{
	cleanup_(lease_pool_freep) LeasePool *pool = lease_pool_new(FIRST, 3);

	cr_assert_eq(take(pool), FIRST);
	lease_return(pool, FIRST);

	cr_assert_eq(take(pool), FIRST + 1);
	cr_assert_eq(take(pool), FIRST + 2);
	cr_assert_eq(take(pool), FIRST);
	check_empty(pool);
}

Test(lease, the_only_free_number_is_found_wherever_it_is)
{
	static const uint32_t places[] = { 0, 1, 63, 64, 100, 127, 128, 149 };
	cleanup_(lease_pool_freep) LeasePool *pool = lease_pool_new(FIRST, 150);

	for (uint32_t i = 0; i < 150; i++)
		(void)take(pool);

	for (size_t i = 0; i < array_size(places); i++) {
		lease_return(pool, FIRST + places[i]);
		cr_assert_eq(take(pool), FIRST + places[i]);
	}
}

Test(lease, what_records_hold_is_claimed_and_not_given_again)
{
	cleanup_(lease_pool_freep) LeasePool *pool = lease_pool_new(FIRST, 4);

	cr_assert_eq(lease_claim(pool, FIRST + 2), 0);
	cr_assert_eq(lease_claim(pool, FIRST + 2), -EEXIST);

	cr_assert_eq(take(pool), FIRST);
	cr_assert_eq(take(pool), FIRST + 1);
	cr_assert_eq(take(pool), FIRST + 3);
	check_empty(pool);
}

Test(lease, numbers_of_another_range_are_refused_and_may_be_returned)
{
	cleanup_(lease_pool_freep) LeasePool *pool = lease_pool_new(FIRST, 4);
	static const uint32_t others[] = { 0, 1, FIRST - 1, FIRST + 4, UINT32_MAX };

	for (size_t i = 0; i < array_size(others); i++) {
		cr_assert_eq(lease_claim(pool, others[i]), -ERANGE, "%u", others[i]);
		lease_return(pool, others[i]);
	}

	for (uint32_t i = 0; i < 4; i++)
		cr_assert_eq(take(pool), FIRST + i);
	check_empty(pool);
}

Test(lease, a_range_may_end_at_the_last_number)
{
	cleanup_(lease_pool_freep) LeasePool *pool = lease_pool_new(UINT32_MAX - 1, 2);

	cr_assert_eq(take(pool), UINT32_MAX - 1);
	cr_assert_eq(take(pool), UINT32_MAX);
	check_empty(pool);
	cr_assert_eq(lease_claim(pool, 0), -ERANGE);
}

Test(lease, returning_a_free_number_is_a_callers_mistake, .signal = SIGABRT)
{
	LeasePool *pool = lease_pool_new(FIRST, 4);

	lease_return(pool, FIRST);
}
