/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/guest/ready.h"

#include "runtime/guest/dir.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

enum {
	TRIES = 50,
	TRY_US = 100000,
};

static const char word[] = "ready";

static int address_of(struct sockaddr_un *ret, const char *dir)
{
	int length;

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	length = snprintf(ret->sun_path, sizeof ret->sun_path, "%s/guest.sock", dir);
	return length < (int)sizeof ret->sun_path ? 0 : -ENAMETOOLONG;
}

int guest_ready_listen(const char *dir)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;
	mode_t mask;
	int r;

	if (fd < 0)
		return -errno;
	r = address_of(&address, dir);
	if (r == 0 && unlink(address.sun_path) < 0 && errno != ENOENT)
		r = -errno;
	mask = umask(0177);
	if (r == 0 && bind(fd, (const struct sockaddr *)&address, sizeof address) < 0)
		r = -errno;
	(void)umask(mask);
	if (r == 0)
		return fd;
	(void)close(fd);
	return r;
}

bool guest_ready_hear(int fd)
{
	char said[sizeof word];
	ssize_t n = recv(fd, said, sizeof said, 0);

	return n == (ssize_t)sizeof word - 1 && memcmp(said, word, sizeof word - 1) == 0;
}

int guest_ready_keep(const char *dir)
{
	return guest_dir_write(dir, word, "", 0);
}

bool guest_ready_was_kept(const char *dir)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof path, "%s/%s", dir, word) < (int)sizeof path &&
	       access(path, F_OK) == 0;
}

static int say(int fd, const struct sockaddr_un *address)
{
	ssize_t n = sendto(fd, word, sizeof word - 1, MSG_DONTWAIT,
			   (const struct sockaddr *)address, sizeof *address);

	return n < 0 ? -errno : 0;
}

/* A daemon that has just been started does not listen yet; one that hangs is not waited for. */
int guest_ready_say(const char *dir)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	int r = fd < 0 ? -errno : address_of(&address, dir);

	if (r == 0)
		r = say(fd, &address);
	for (int i = 0; i < TRIES && (r == -ENOENT || r == -ECONNREFUSED || r == -EAGAIN); i++) {
		(void)usleep(TRY_US);
		r = say(fd, &address);
	}
	return r;
}
