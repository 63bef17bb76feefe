/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <criterion/criterion.h>

static const int64_t hour = 3600 * (int64_t)USEC_PER_SEC;

Test(clock, a_span_that_began_in_the_future_has_no_length)
{
	int64_t start = clock_wall_us() + hour;

	cr_assert_eq(clock_wall_after(start), start);
}

Test(clock, a_span_that_began_in_the_past_ends_now)
{
	int64_t before = clock_wall_us();

	cr_assert_geq(clock_wall_after(before - hour), before);
}

Test(clock, what_is_in_the_future_is_past_only_if_no_age_is_asked_for)
{
	int64_t now = clock_wall_us();

	cr_assert(clock_is_past(now - hour, hour));
	cr_assert_not(clock_is_past(now, hour));
	cr_assert_not(clock_is_past(now + hour, USEC_PER_SEC));
	cr_assert(clock_is_past(now + hour, 0));
}
