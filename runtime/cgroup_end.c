/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/process.h"
#include "base/text.h"
#include "runtime/cgroup.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>

/* The end of a group: by SIGKILL, until nothing is in it. */

enum {
	PROCS_MAX = 1024 * 1024,
	TICK = USEC_PER_MSEC,
};

/* Does @path, a cgroup.procs, list @pid? */
static bool is_member(const char *path, pid_t pid)
{
	cleanup_free char *text = NULL;
	char *at, *next;

	if (file_read(&text, NULL, path, PROCS_MAX) < 0)
		return false;
	for (at = text;; at = next) {
		long member = strtol(at, &next, 10);

		if (next == at)
			return false;
		if (member == pid)
			return true;
	}
}

/* SIGKILL for @pid if it is still the group's once nobody else can be meant. */
static void kill_member(const char *path, pid_t pid)
{
	cleanup_close int pidfd = pidfd_open(pid, 0);

	if (pidfd >= 0 && is_member(path, pid))
		(void)!process_signal(pidfd, SIGKILL);
}

/* Return: 1 if there was somebody to kill; 0; -ENOENT: no such group. */
static int kill_members(const char *dir)
{
	cleanup_free char *path = text_printf("%s/cgroup.procs", dir);
	cleanup_free char *text = NULL;
	char *at, *next;
	int found = 0, r = file_read(&text, NULL, path, PROCS_MAX);

	if (r < 0)
		return r == -ENODEV || r == -ENOENT ? -ENOENT : r;
	for (at = text;; at = next) {
		long pid = strtol(at, &next, 10);

		if (next == at)
			return found;
		found = 1;
		if (pid > 1)
			kill_member(path, (pid_t)pid);
	}
}

/* Version 2 does it in one write, forks in the meantime included. */
static void kill_at_once(const char *dir)
{
	cleanup_free char *path = text_printf("%s/cgroup.kill", dir);
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, "1", 1);
}

/* One try: 0: it is gone; 1: not yet; -errno. */
static int try_end(const char *dir)
{
	int r = kill_members(dir);

	if (r != 0)
		return r == -ENOENT ? 0 : r;
	if (rmdir(dir) == 0 || errno == ENOENT)
		return 0;
	/* The last one's traces may keep it busy for a moment. */
	return errno == EBUSY ? 1 : -errno;
}

static int end_one(const char *dir, int64_t deadline)
{
	int r;

	if (access(dir, F_OK) < 0 && errno == ENOENT)
		return 0;
	kill_at_once(dir);
	while ((r = try_end(dir)) > 0) {
		if (clock_mono_us() >= deadline)
			return -ETIMEDOUT;
		clock_sleep_us(TICK);
	}
	return r;
}

/* May @path stand below a mount? Relative, of two names or more, none of which leads up. */
static bool is_below(const char *path)
{
	cleanup_free char *copy = text_dup(path);
	char *rest = copy, *name;
	size_t count = 0;

	while ((name = strsep(&rest, "/"))) {
		if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			return false;
		count++;
	}
	return count >= 2;
}

int cgroup_end(const CgroupHost *host, const char *group, int64_t timeout)
{
	int64_t deadline = clock_mono_us() + timeout;
	size_t count = host->version == 2 ? 1 : CGROUP_COUNT_;

	assert(is_below(group));
	for (size_t i = 0; i < count; i++) {
		cleanup_free char *dir = text_printf("%s/%s", host->mounts[i], group);
		int r = end_one(dir, deadline);

		if (r < 0)
			return r;
	}
	return 0;
}
