/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/keeper/idmap.h"

#include "base/text.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>

/*
 * Lives in the namespace, having said on @ready that it is in it, until nobody has the other end of
 * @held any more: whoever forked it has seen to that, or is dead. (A signal of the parent's death
 * would be forgotten with the change of credentials.)
 */
__attribute__((__noreturn__)) static void hold_namespace(int ready, int held)
{
	char result = (char)(unshare(CLONE_NEWUSER) < 0 ? errno : 0);

	(void)write(ready, &result, 1);
	while (read(held, &result, 1) < 0 && errno == EINTR)
		;
	_exit(0);
}

static int write_map(pid_t pid, const char *name, uid_t inside, uid_t outside)
{
	cleanup_free char *path = text_printf("/proc/%d/%s", (int)pid, name);
	cleanup_free char *map = text_printf("%u %u 1", (unsigned)inside, (unsigned)outside);
	cleanup_close int fd = open(path, O_WRONLY | O_CLOEXEC);
	size_t length = strlen(map);

	if (fd < 0)
		return -errno;
	return write(fd, map, length) == (ssize_t)length ? 0 : -errno;
}

/* The namespace of @pid, its owners mapped. */
static int take_namespace(int *ret, pid_t pid, uid_t owner, gid_t group, uid_t id)
{
	cleanup_free char *path = text_printf("/proc/%d/ns/user", (int)pid);
	int r = write_map(pid, "uid_map", owner, id);

	if (r == 0)
		r = write_map(pid, "gid_map", group, id);
	if (r < 0)
		return r;
	*ret = open(path, O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? -errno : 0;
}

static int pipe_open(int *out, int *in)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	*out = ends[0];
	*in = ends[1];
	return 0;
}

int idmap_open(int *ret, uid_t owner, gid_t group, uid_t id)
{
	cleanup_close int ready = -1, ready_in = -1, held = -1, held_in = -1;
	char result = 0;
	pid_t pid;
	int r;

	if (pipe_open(&ready, &ready_in) < 0 || pipe_open(&held, &held_in) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		closep(&held_in);
		hold_namespace(ready_in, held);
	}
	closep(&ready_in);
	ready_in = -1;
	r = read(ready, &result, 1) == 1 ? -result : -EIO;
	if (r == 0)
		r = take_namespace(ret, pid, owner, group, id);
	closep(&held_in);
	held_in = -1;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}
