/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/freeze.h"

#include "base/cleanup.h"
#include "runtime/guest/poll.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>

enum {
	SYSTEMS_MAX = 64,
	FILES_MAX = 1024, /* more than the daemon ever opens */
};

typedef struct System {
	dev_t device;
	int fd;
	bool frozen;
} System;

typedef struct Systems {
	System all[SYSTEMS_MAX]; /* in the order in which they were mounted */
	size_t count;
} Systems;

/* Mount points have "\040" for a space, and so on. */
static void unescape(char *text)
{
	char *to = text;

	while (*text) {
		if (text[0] == '\\' && text[1] && text[2] && text[3]) {
			*to++ = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 |
				       (text[3] - '0'));
			text += 4;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

static bool is_known(const Systems *systems, dev_t device)
{
	for (size_t i = 0; i < systems->count; i++)
		if (systems->all[i].device == device)
			return true;
	return false;
}

/* Is that of a line after " - ", its type, source and options, one to freeze? */
static bool is_written_disk(const char *rest, unsigned number)
{
	char source[256] = "", options[8] = "";

	if (sscanf(rest, "%*s %255s %7s", source, options) != 2)
		return false;
	/* btrfs has no device number of its own. */
	if (number == 0 && strncmp(source, "/dev/", 5) != 0)
		return false;
	return strncmp(options, "rw", 2) == 0 && (options[2] == ',' || options[2] == '\0');
}

static int add(Systems *systems, char *line)
{
	char *rest = strstr(line, " - "), *point, *end = NULL;
	unsigned upper, lower;
	int at = 0, fd;

	/* NOLINTNEXTLINE(cert-err34-c): the kernel wrote the numbers */
	if (!rest || sscanf(line, "%*u %*u %u:%u %*s %n", &upper, &lower, &at) != 2 || !at)
		return 0;
	if (!is_written_disk(rest + 3, upper) || is_known(systems, makedev(upper, lower)))
		return 0;
	point = strtok_r(line + at, " ", &end);
	if (!point)
		return 0;
	unescape(point);
	fd = open(point, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0) /* hidden by a later mount */
		return 0;
	if (systems->count == SYSTEMS_MAX) {
		(void)close(fd);
		return -E2BIG;
	}
	systems->all[systems->count++] = (System){ .device = makedev(upper, lower), .fd = fd };
	return 0;
}

static int find_systems(Systems *systems)
{
	cleanup_fclose FILE *file = fopen("/proc/self/mountinfo", "re");
	cleanup_free char *line = NULL;
	size_t size = 0;
	int r = 0;

	if (!file)
		return -errno;
	while (r == 0 && getline(&line, &size, file) > 0)
		r = add(systems, line);
	return r;
}

/* The C libraries do not agree on the type of what ioctl() is asked for. */
static long control(int fd, unsigned long request)
{
	return syscall(SYS_ioctl, fd, request, 0);
}

static int64_t thaw(Systems *systems)
{
	int64_t count = 0;

	for (size_t i = 0; i < systems->count; i++) {
		if (!systems->all[i].frozen || control(systems->all[i].fd, FITHAW) < 0)
			continue;
		systems->all[i].frozen = false;
		count++;
	}
	return count;
}

/* The last mounted first, as it may be a file in another one. */
static int64_t freeze(Systems *systems, int64_t deadline)
{
	int64_t count = 0;

	for (size_t i = systems->count; i-- > 0;) {
		System *one = &systems->all[i];

		if (control(one->fd, FIFREEZE) == 0) {
			one->frozen = true;
			count++;
		} else if (errno != EOPNOTSUPP && errno != EBUSY) { /* EBUSY: by somebody else */
			return -errno;
		}
		if (guest_clock_ms() >= deadline)
			return -ETIMEDOUT;
	}
	return count;
}

/* Those of the daemon: an input that it closes is to end, and a port is opened only once. */
static void close_all_but(int fd)
{
	for (int other = 3; other < FILES_MAX; other++)
		if (other != fd)
			(void)close(other);
}

static void say(int fd, int64_t count)
{
	(void)!send(fd, &count, sizeof count, MSG_NOSIGNAL);
}

/* A guest that shuts down sends SIGTERM to everybody, and must then write to its disks. */
static int open_end(void)
{
	sigset_t end;

	(void)sigemptyset(&end);
	(void)sigaddset(&end, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &end, NULL);
	return signalfd(-1, &end, SFD_CLOEXEC);
}

static void wait_for_thaw(int fd, int end, int64_t deadline)
{
	struct pollfd told[] = { { .fd = fd, .events = POLLIN }, { .fd = end, .events = POLLIN } };
	int64_t left;

	while ((left = deadline - guest_clock_ms()) > 0 &&
	       poll(told, array_size(told), (int)left) < 0)
		;
}

void guest_freeze_hold(int fd, int64_t deadline)
{
	static Systems systems;
	int64_t count;
	int end;

	close_all_but(fd);
	/* Whoever ends the daemon's group by force is not to leave the disks frozen. */
	(void)setsid();
	end = open_end();
	count = find_systems(&systems);
	if (count == 0)
		count = freeze(&systems, deadline);
	if (count < 0)
		(void)thaw(&systems);
	say(fd, count);
	if (count < 0)
		_exit(1);
	wait_for_thaw(fd, end, deadline);
	(void)!recv(fd, &count, sizeof count, MSG_DONTWAIT);
	say(fd, thaw(&systems));
	_exit(0);
}
