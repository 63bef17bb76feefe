/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/pager/uffd.h"

#include "base/text.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>

/* How far it got is told beside the error: part of it is EAGAIN. */
static ssize_t result(int r, int64_t done)
{
	int problem = errno;

	if (done > 0)
		return (ssize_t)done;
	return r < 0 ? -problem : -EIO;
}

ssize_t uffd_copy(int uffd, uint64_t to, const void *from, uint64_t size)
{
	struct uffdio_copy copy = { .dst = to, .src = (uintptr_t)from, .len = size };
	int r = ioctl(uffd, UFFDIO_COPY, &copy);

	return result(r, copy.copy);
}

ssize_t uffd_zero(int uffd, uint64_t to, uint64_t size)
{
	struct uffdio_zeropage zero = { .range = { to, size } };
	int r = ioctl(uffd, UFFDIO_ZEROPAGE, &zero);

	return result(r, zero.zeropage);
}

void uffd_wake(int uffd, uint64_t at, uint64_t size)
{
	struct uffdio_range range = { at, size };

	(void)ioctl(uffd, UFFDIO_WAKE, &range);
}

int uffd_unregister(int uffd, uint64_t at, uint64_t size)
{
	struct uffdio_range range = { at, size };

	return ioctl(uffd, UFFDIO_UNREGISTER, &range) < 0 ? -errno : 0;
}

int uffd_set_blocking(int uffd, bool blocking)
{
	int flags = fcntl(uffd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
	return fcntl(uffd, F_SETFL, flags) < 0 ? -errno : 0;
}

bool uffd_is_one(pid_t pid, int fd)
{
	static const char wanted[] = "anon_inode:[userfaultfd]";
	char path[64], link[sizeof wanted];
	ssize_t n;

	if (pid)
		(void)text_append(path, path + sizeof path, "/proc/%d/fd/%d", (int)pid, fd);
	else
		(void)text_append(path, path + sizeof path, "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof link);
	return n == (ssize_t)sizeof wanted - 1 && memcmp(link, wanted, sizeof wanted - 1) == 0;
}

/* The number of @pid's only userfaultfd. */
static int find_only(pid_t pid)
{
	cleanup_free char *path = text_printf("/proc/%d/fd", (int)pid);
	cleanup_closedir DIR *dir = opendir(path);
	const struct dirent *entry;
	int found = -ENOENT;

	if (!dir)
		return -errno;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): this thread's own stream */
	while ((entry = readdir(dir))) {
		uint64_t fd;

		if (text_to_u64(&fd, entry->d_name) < 0 || !uffd_is_one(pid, (int)fd))
			continue;
		if (found >= 0)
			return -ENOTUNIQ;
		found = (int)fd;
	}
	return found;
}

int uffd_take_over(int *ret, pid_t pid, int pidfd)
{
	int fd = find_only(pid);

	if (fd < 0)
		return fd;
	fd = pidfd_getfd(pidfd, fd, 0);
	if (fd < 0)
		return -errno;
	*ret = fd; /* close-on-exec, as pidfd_getfd(2) makes them */
	return 0;
}
