/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A disk that is full, for Criterion suites: each test is a process of its own. */

#include <criterion/criterion.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>

/* From now on no file of this process grows, as on a full disk; or it may again. */
static inline void fill_disk(bool full)
{
	struct rlimit limit;

	(void)signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = full ? 1 : limit.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}
