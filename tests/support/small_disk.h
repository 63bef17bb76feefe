/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A small disk of the test's own, for Criterion suites: each test is a process of its own. */

#include "base/text.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

/* Mounts @mib of memory over @dir, for this process only; skips the test where that is not allowed.
 */
static inline void mount_small_disk(const char *dir, int mib)
{
	cleanup_free char *options = text_printf("size=%dm", mib);

	if (unshare(CLONE_NEWNS) < 0)
		cr_skip_test("mounting needs root");
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("none", dir, "tmpfs", 0, options), 0);
}

/* Nothing is left for others. */
static inline void fill_small_disk(const char *dir)
{
	cleanup_free char *path = text_printf("%s/hog", dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	static const char block[1 << 16];

	cr_assert_geq(fd, 0);
	for (size_t size = sizeof block; size; size /= 2)
		while (write(fd, block, size) > 0)
			;
	cr_assert_eq(close(fd), 0);
}

static inline void free_small_disk(const char *dir)
{
	cleanup_free char *path = text_printf("%s/hog", dir);

	cr_assert_eq(unlink(path), 0);
}
