/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/disk_file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum {
	STAT_BLOCK = 512, /* of st_blocks, whatever the file system's is */
};

void disk_error_add_cause(Error *err, int errnum)
{
	static const struct {
		int errnum;
		ErrorCause cause;
	} rows[] = {
		{ ENOENT, CAUSE_MISSING }, { ENOTDIR, CAUSE_MISSING }, { EEXIST, CAUSE_EXISTS },
		{ EIO, CAUSE_CORRUPT },    { EUCLEAN, CAUSE_CORRUPT }, { EBADMSG, CAUSE_CORRUPT },
		{ ELOOP, CAUSE_INPUT },    { EFBIG, CAUSE_INPUT },     { ECANCELED, CAUSE_TIMEOUT },
	};

	for (size_t i = 0; i < array_size(rows); i++)
		if (rows[i].errnum == errnum)
			err->cause = rows[i].cause;
}

int disk_progress(const DiskProgress *progress, uint64_t done, uint64_t total)
{
	if (!progress || !progress->step || progress->step(progress->user, done, total))
		return 0;
	return -ECANCELED;
}

static int open_unlinked(int dir, const char *path, uint64_t flags)
{
	/* A FIFO would wait for its writer. */
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
}

int disk_open(int *ret, int dir, const char *path, Error *err)
{
	cleanup_close int fd = open_unlinked(dir, path, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return disk_error(err, errno, "open %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT, "%s is no regular file",
				       path);
	*ret = take_fd(fd);
	return 0;
}

int disk_open_dir(int *ret, const char *path, Error *err)
{
	int fd = open_unlinked(AT_FDCWD, path, O_DIRECTORY);

	if (fd < 0)
		return disk_error(err, errno, "open %s", path);
	*ret = fd;
	return 0;
}

ssize_t disk_read(int fd, void *bytes, size_t size, uint64_t at)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, (char *)bytes + done, size - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int disk_write(int fd, const void *bytes, size_t size, uint64_t at)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pwrite(fd, (const char *)bytes + done, size - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

/* As lseek(), but @size where there is none of it, or where the file has become shorter. */
static int seek(uint64_t *ret, int fd, uint64_t at, uint64_t size, int whence)
{
	off_t found = lseek(fd, (off_t)at, whence);

	if (found < 0 && errno != ENXIO)
		return -errno;
	*ret = found < 0 || (uint64_t)found > size ? size : (uint64_t)found;
	return 0;
}

int disk_next_data(uint64_t ret[static 2], int fd, uint64_t at, uint64_t size)
{
	int r = at < size ? seek(&ret[0], fd, at, size, SEEK_DATA) : 0;

	if (at >= size || (r == 0 && ret[0] == size)) {
		ret[0] = ret[1] = size;
		return 0;
	}
	if (r == -EINVAL) {
		ret[0] = at;
		ret[1] = size;
		return 0;
	}
	return r < 0 ? r : seek(&ret[1], fd, ret[0], size, SEEK_HOLE);
}

uint64_t disk_allocated(const struct stat *st)
{
	return (uint64_t)st->st_blocks * STAT_BLOCK;
}
