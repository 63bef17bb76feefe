/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cleanup.h"
#include "base/descriptors.h"
#include "tests/support/few_descriptors.h"

#include <criterion/criterion.h>
#include <fcntl.h>

enum {
	LIMIT = 64,
	KEPT = LIMIT / 4
};

static int open_one(void)
{
	return open("/", O_PATH | O_CLOEXEC);
}

/* All but those that are kept: how many that were. The process ends with the test. */
static size_t take_all(void)
{
	size_t taken = 0;
	int fd;

	while (!descriptors_are_kept(fd = open_one())) {
		cr_assert_geq(fd, 0);
		taken++;
	}
	closep(&fd);
	return taken;
}

Test(descriptors, the_last_quarter_is_kept)
{
	limit_descriptors(LIMIT);

	(void)take_all();

	for (int i = 0; i < KEPT; i++)
		cr_assert(descriptors_are_kept(open_one()));
	cr_assert_lt(open_one(), 0);
	cr_assert_not(descriptors_are_kept(-1));
}

Test(descriptors, no_more_can_be_opened_than_are_left)
{
	size_t left;

	limit_descriptors(LIMIT);
	left = descriptors_left();

	cr_assert_leq(take_all(), left);

	cr_assert_eq(descriptors_left(), 0);
}

Test(descriptors, those_that_are_open_are_counted)
{
	size_t before, after, limit;

	limit_descriptors(LIMIT);
	descriptors_count(&before, &limit);
	cr_assert_eq(limit, LIMIT);

	cr_assert_geq(open_one(), 0);

	descriptors_count(&after, &limit);
	cr_assert_eq(after, before + 1);
}
