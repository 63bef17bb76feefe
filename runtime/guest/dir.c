/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/dir.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

static bool is_in_memory(const char *dir)
{
	struct statfs where;

	/* The types of the two differ between C libraries. */
	return statfs(dir, &where) == 0 && ((unsigned long)where.f_type == TMPFS_MAGIC ||
					    (unsigned long)where.f_type == RAMFS_MAGIC);
}

int guest_dir_make(const char *dir)
{
	/* First: mkdir() waits while the disk is frozen that the directory is on, be it there. */
	if (is_in_memory(dir))
		return 0;
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	if (is_in_memory(dir))
		return 0;
	if (mount("hearth", dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=16m") <
	    0)
		return -errno;
	return 0;
}

static int write_all(int fd, const char *bytes, size_t length)
{
	while (length) {
		ssize_t n = write(fd, bytes, length);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			bytes += n;
			length -= (size_t)n;
		}
	}
	return 0;
}

int guest_dir_write(const char *dir, const char *file, const void *bytes, size_t length)
{
	char path[PATH_MAX], aside[PATH_MAX];
	cleanup_close int fd = -1;
	int r;

	/* No file that is asked for begins with a dot. */
	if (snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path ||
	    snprintf(aside, sizeof aside, "%s/.new", dir) >= (int)sizeof aside)
		return -ENAMETOOLONG;
	if (unlink(aside) < 0 && errno != ENOENT)
		return -errno;
	fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, bytes, length);
	if (r == 0 && rename(aside, path) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(aside);
	return r;
}
