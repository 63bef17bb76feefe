/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"

#include "base/text.h"

#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

int file_read(char **ret, size_t *length, const char *path, size_t max)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	cleanup_free char *text = NULL;
	size_t used = 0, room = 4096;

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n;

		text = must_realloc(text, room + 1, 1);
		n = read(fd, text + used, room - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		used += (size_t)n;
		if (used > max)
			return -EFBIG;
		if (used == room)
			room *= 2;
	}
	text[used] = '\0';
	if (length)
		*length = used;
	*ret = take_ptr(text);
	return 0;
}

static int write_all(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t n = write(fd, text, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		length -= (size_t)n;
	}
	return 0;
}

static int sync_parent(const char *path)
{
	cleanup_free char *copy = text_dup(path);
	cleanup_close int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return 0;
}

static char *aside_of(const char *path)
{
	return text_printf("%s.new", path);
}

void file_clear_aside(const char *path)
{
	cleanup_free char *aside = aside_of(path);

	(void)unlink(aside);
}

static int replace(const char *path, const char *text, size_t length, bool sync)
{
	cleanup_free char *aside = aside_of(path);
	cleanup_close int fd = -1;
	int r;

	fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, length);
	if (r == 0 && sync && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(aside, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlink(aside);
		return r;
	}
	return sync ? sync_parent(path) : 0;
}

int file_write_atomic(const char *path, const char *text, size_t length)
{
	return replace(path, text, length, true);
}

int file_replace(const char *path, const char *text, size_t length)
{
	return replace(path, text, length, false);
}

int file_sync(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 || fsync(fd) < 0)
		return -errno;
	return sync_parent(path);
}

int file_in_memory(int *ret, const void *bytes, size_t size)
{
	cleanup_close int fd = memfd_create("hearth", MFD_CLOEXEC);
	int r = fd < 0 ? -errno : write_all(fd, bytes, size);

	if (r == 0)
		*ret = take_fd(fd);
	return r;
}

int file_make_dirs(const char *path)
{
	cleanup_free char *copy = text_dup(path);
	char *at = copy;

	while ((at = strchr(at + 1, '/'))) {
		*at = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			return -errno;
		*at = '/';
	}
	if (mkdir(copy, 0700) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if ((type == FTW_DP ? rmdir(path) : unlink(path)) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int file_remove_tree(const char *path)
{
	int r = nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);

	if (r == -1)
		return errno == ENOENT ? 0 : -errno;
	return r;
}
