/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/groups.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	EVENTS_MAX = 4096
};

static const char namespace[] = "/proc/1/ns/cgroup"; /* the host's, where process 1 is */

int groups_add(Groups *groups, const char *dir)
{
	if (groups->count == GROUPS_MAX || dir[0] != '/')
		return -1;
	groups->dirs[groups->count++] = dir;
	return 0;
}

static int enter(const char *dir)
{
	static const char self[] = "0"; /* whoever writes */
	char path[PATH_MAX];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof path, "%s/cgroup.procs", dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = write(fd, self, sizeof self - 1);
	(void)close(fd);
	return n < 0 ? -1 : 0;
}

/* Are the groups of process 1 outside of what this process has for the root? Then they are "/../".
 */
static bool is_confined(void)
{
	char text[EVENTS_MAX + 1];
	int fd = open("/proc/1/cgroup", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, text, EVENTS_MAX);

	if (fd >= 0)
		(void)close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return strstr(text, ":/..");
}

/*
 * In a namespace of control groups whose root is the agent's group, version 2 knows no group
 * outside (ENOENT), and a group within the agent's looks like one of the host's. To leave it takes
 * CAP_SYS_ADMIN, and CAP_SYS_PTRACE where process 1 has more capabilities.
 */
static int enter_namespace(void)
{
	int fd, r, problem;

	if (!is_confined())
		return 0;
	fd = open(namespace, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	r = setns(fd, CLONE_NEWCGROUP);
	problem = errno;
	(void)close(fd);
	errno = problem;
	return r;
}

const char *groups_enter(const Groups *groups)
{
	if (groups->count > 0 && enter_namespace() < 0)
		return namespace;
	for (size_t i = 0; i < groups->count; i++)
		if (enter(groups->dirs[i]) < 0)
			return groups->dirs[i];
	return NULL;
}

bool groups_ran_out(const char *file)
{
	static const char word[] = "oom_kill ";
	cleanup_free char *text = NULL;
	const char *at;

	if (!file || file_read(&text, NULL, file, EVENTS_MAX) < 0)
		return false;
	at = strncmp(text, word, sizeof word - 1) == 0 ? text : strstr(text, "\noom_kill ");
	return at && strtoull(strchr(at, ' '), NULL, 10) > 0;
}
