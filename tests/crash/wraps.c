/* SPDX-License-Identifier: Apache-2.0 */

/* The system calls among the crash points; see points.c. */

#include "tests/crash/points.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*): these are the linker's names */

/* What is at @path? */
static const char *kind_of(const char *path)
{
	static const struct {
		const char *prefix, *kind;
	} rows[] = {
		{ "/sys/fs/cgroup/", "control-group" },
		{ "/sys/fs/bpf/", "pin" },
		{ "/proc/sys/", "setting" },
		{ "/proc/", "process" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strncmp(path, rows[i].prefix, strlen(rows[i].prefix)) == 0)
			return rows[i].kind;
	return "file";
}

/* A call on a path, @at. */
#define WRAP_PATH(name, at, parameters, arguments) \
	WRAP_CALL(int, name, parameters, arguments, crash_point(kind_of(at), #name, at))

/* clang-format off */
WRAP_PATH(mkdir,    path, (const char *path, mode_t mode), (path, mode))
WRAP_PATH(mkfifo,   path, (const char *path, mode_t mode), (path, mode))
WRAP_PATH(rmdir,    path, (const char *path), (path))
WRAP_PATH(unlink,   path, (const char *path), (path))
WRAP_PATH(unlinkat, path, (int dir, const char *path, int flags), (dir, path, flags))
WRAP_PATH(mkdirat,  path, (int dir, const char *path, mode_t mode), (dir, path, mode))
WRAP_PATH(mknodat,  path, (int dir, const char *path, mode_t mode, dev_t dev), (dir, path, mode, dev))
WRAP_PATH(fchownat, path, (int dir, const char *path, uid_t user, gid_t group, int flags),
	  (dir, path, user, group, flags))
WRAP_PATH(rename,   to,   (const char *from, const char *to), (from, to))
WRAP_PATH(renameat2, to,  (int from_dir, const char *from, int to_dir, const char *to, unsigned int flags),
	  (from_dir, from, to_dir, to, flags))
WRAP_PATH(linkat,   to,   (int from_dir, const char *from, int to_dir, const char *to, int flags),
	  (from_dir, from, to_dir, to, flags))

WRAP("mount", mount, target, (const char *source, const char *target, const char *type,
     unsigned long flags, const void *data), (source, target, type, flags, data))
WRAP("mount", umount2, target, (const char *target, int flags), (target, flags))
WRAP("mount", move_mount, to, (int from_dir, const char *from, int to_dir, const char *to,
     unsigned int flags), (from_dir, from, to_dir, to, flags))
WRAP("process", kill, "", (pid_t pid, int signal), (pid, signal))
WRAP("process", pidfd_send_signal, "", (int pidfd, int signal, siginfo_t *info, unsigned int flags),
     (pidfd, signal, info, flags))
WRAP("process", waitid, "", (idtype_t type, id_t id, siginfo_t *info, int options),
     (type, id, info, options))
WRAP("process", setns, "", (int fd, int type), (fd, type))
WRAP("process", unshare, "", (int flags), (flags))
/* clang-format on */

/* What a descriptor is open for; false: of no regular file, so that no change of one is lost. */
static bool path_of(char *ret, size_t size, int fd)
{
	char link[64];
	struct stat st;
	ssize_t n;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	(void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, ret, size - 1);
	if (n < 0)
		return false;
	ret[n] = '\0';
	return true;
}

static void changed(int fd, const char *call)
{
	char path[4096];

	/* Standard error is whoever's; a file that has no name is nobody's. */
	if (fd > STDERR_FILENO && path_of(path, sizeof path, fd) && !strstr(path, " (deleted)"))
		crash_point(kind_of(path), call, path);
}

/* Calls on a descriptor. */
#define WRAP_FD(type, name, parameters, arguments) \
	WRAP_CALL(type, name, parameters, arguments, changed(fd, #name))

/* clang-format off */
WRAP_FD(ssize_t, write, (int fd, const void *bytes, size_t size), (fd, bytes, size))
WRAP_FD(ssize_t, pwrite, (int fd, const void *bytes, size_t size, off_t at), (fd, bytes, size, at))
WRAP_FD(int, ftruncate, (int fd, off_t size), (fd, size))
WRAP_FD(int, posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size))
WRAP_FD(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
WRAP_FD(int, fchown, (int fd, uid_t user, gid_t group), (fd, user, group))
WRAP_FD(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP_FD(ssize_t, copy_file_range, (int from, off_t *from_at, int fd, off_t *at, size_t size, unsigned int flags),
	(from, from_at, fd, at, size, flags))
/* clang-format on */

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list more;
	int fd;

	if (flags & (O_CREAT | __O_TMPFILE)) {
		va_start(more, flags);
		mode = va_arg(more, mode_t);
		va_end(more);
	}
	fd = __real_open(path, flags, mode);
	if (fd >= 0 && flags & (O_CREAT | O_TRUNC))
		crash_point(kind_of(path), "open", path);
	return fd;
}

/* Those of interfaces, and reflinks; others ask. */
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
	unsigned long argument;
	va_list more;
	int r;

	va_start(more, request);
	argument = va_arg(more, unsigned long);
	va_end(more);
	r = __real_ioctl(fd, request, argument);
	if (r >= 0 && request == FICLONE)
		changed(fd, "ioctl");
	else if (r >= 0)
		crash_point("link", "ioctl", "");
	return r;
}

/* To a VMM: sockets of hearthd's other conversations have addresses of the internet. */
static void sent(int fd, const char *call)
{
	struct sockaddr_storage address = { 0 };
	socklen_t length = sizeof address;

	if (getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
	    address.ss_family == AF_UNIX)
		crash_point("vmm", call, "");
}

ssize_t __real_send(int fd, const void *bytes, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags)
{
	ssize_t n = __real_send(fd, bytes, size, flags);

	if (n >= 0)
		sent(fd, "send");
	return n;
}

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	ssize_t n = __real_sendmsg(fd, message, flags);

	if (n >= 0)
		sent(fd, "sendmsg");
	return n;
}

/* A program, while it has only begun: its end is waitid()'s point. */
int __real_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attributes, char *const argv[],
			char *const envp[]);
int __wrap_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attributes, char *const argv[],
			char *const envp[]);
int __wrap_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	static const struct {
		const char *program, *kind;
	} rows[] = {
		{ "nft", "rule" },
		{ "iptables-restore", "chain" },
		{ "ip6tables-restore", "chain" },
	};
	const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file, *kind = "process";
	int r = __real_posix_spawnp(pid, file, actions, attributes, argv, envp);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strcmp(name, rows[i].program) == 0)
			kind = rows[i].kind;
	if (r == 0)
		crash_point(kind, "posix_spawnp", name);
	return r;
}

pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
	pid_t pid = __real_fork();

	if (pid > 0)
		crash_point("process", "fork", "");
	return pid;
}

/* The keeper that lets go of its parents has started its VMM. */
int __real_prctl(int option, unsigned long value, ...);
int __wrap_prctl(int option, unsigned long value, ...);
int __wrap_prctl(int option, unsigned long value, ...)
{
	int r = __real_prctl(option, value, 0UL, 0UL, 0UL);

	if (option == PR_SET_PDEATHSIG && !value) {
		crash_point("process", "prctl", "");
		crash_points_end();
	}
	return r;
}

/* NOLINTEND(bugprone-reserved-identifier,cert-dcl*) */
