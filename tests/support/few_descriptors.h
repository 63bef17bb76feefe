/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A process out of descriptors, for Criterion suites: each test is a process of its own. */

#include <criterion/criterion.h>
#include <sys/resource.h>

/* How many descriptors this process may have from now on; what was so before is returned. */
static inline rlim_t limit_descriptors(rlim_t most)
{
	struct rlimit limit;
	rlim_t before;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	before = limit.rlim_cur;
	limit.rlim_cur = most;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return before;
}
