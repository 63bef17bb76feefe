/* SPDX-License-Identifier: Apache-2.0 */
#include "base/descriptors.h"

#include "base/cleanup.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/param.h>
#include <sys/resource.h>
#include <sys/stat.h>

static size_t limit_of(void)
{
	struct rlimit limit = { 0 };

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	return MIN(limit.rlim_cur, INT32_MAX);
}

/* The first number of those that are kept. */
static size_t kept_from(void)
{
	size_t limit = limit_of();

	return limit - MIN(limit / 4, DESCRIPTORS_KEPT_MAX);
}

bool descriptors_are_kept(int fd)
{
	return fd >= 0 && (size_t)fd >= kept_from();
}

size_t descriptors_left(void)
{
	cleanup_close int fd = open("/", O_PATH | O_CLOEXEC);
	size_t from = kept_from();

	return fd >= 0 && (size_t)fd < from ? from - (size_t)fd : 0;
}

void descriptors_count(size_t *open, size_t *limit)
{
	static const char path[] = "/proc/self/fd";
	cleanup_closedir DIR *dir = NULL;
	struct stat st;

	*limit = *open = limit_of();
	if (stat(path, &st) == 0 && st.st_size > 0) { /* since Linux 6.2 */
		*open = (size_t)st.st_size;
		return;
	}
	dir = opendir(path);
	if (!dir)
		return;
	*open = 0;
	while (readdir(dir))
		++*open;
	*open -= MIN(*open, 3); /* ".", ".." and the one it is read by */
}
