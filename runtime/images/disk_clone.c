/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/images/disk_clone.h"

#include "base/file.h"
#include "base/text.h"

#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum {
	STEP = 32 << 20, /* bytes copied between two looks whether to go on */
	PIECE = 1 << 20, /* where this process has to copy them */
};

int disk_check_room(int fd, const char *path, uint64_t bytes, uint64_t spare, Error *err)
{
	struct statvfs fs;
	uint64_t left;

	if (fstatvfs(fd, &fs) < 0)
		return disk_error(err, errno, "look at the disk of %s", path);
	left = fs.f_bavail * fs.f_frsize;
	if (left >= spare && left - spare >= bytes)
		return 0;
	return error_set_cause(err, ERROR_ROOTFS, CAUSE_EXHAUSTED,
			       "%s needs %" PRIu64 " bytes, and of its disk %" PRIu64
			       " are left, of which %" PRIu64 " are not to be used",
			       path, bytes, left, spare);
}

int disk_aside(int *ret, const char *path, mode_t mode, Error *err)
{
	cleanup_free char *copy = text_dup(path);
	cleanup_close int fd = open(dirname(copy), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 || fchmod(fd, mode) < 0)
		return disk_error(err, errno, "make %s", path);
	*ret = take_fd(fd);
	return 0;
}

int disk_publish(int fd, const char *path, Error *err)
{
	char self[32];

	(void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0)
		return disk_error(err, errno, "name %s", path);
	return 0;
}

/* Does the failure tell that these two files are not to be reflinked, or copied by the kernel? */
static bool is_inability(int error)
{
	static const int inabilities[] = { EOPNOTSUPP, ENOTTY, ENOSYS, EXDEV, EINVAL };

	for (size_t i = 0; i < array_size(inabilities); i++)
		if (inabilities[i] == error)
			return true;
	return false;
}

/* At @at, at most @size bytes, by this process. Return: how many, or -errno. */
static ssize_t copy_piece(int to, int origin, uint64_t at, uint64_t size)
{
	cleanup_free char *piece = must_realloc(NULL, PIECE, 1);
	ssize_t n = disk_read(origin, piece, size < PIECE ? size : PIECE, at);
	int r = n > 0 ? disk_write(to, piece, (size_t)n, at) : 0;

	return r < 0 ? r : n;
}

/* The same, by the kernel where it can. */
static ssize_t copy_some(int to, int origin, uint64_t at, uint64_t size)
{
	off_t from_at = (off_t)at, to_at = (off_t)at;
	ssize_t n = copy_file_range(origin, &from_at, to, &to_at, size < STEP ? size : STEP, 0);

	if (n > 0)
		return n;
	/* At the end of the origin it copies nothing, and on some file systems anywhere. */
	if (n == 0 || is_inability(errno))
		return copy_piece(to, origin, at, size);
	return -errno;
}

/* Return: 0 or -errno. */
static int copy_run(const uint64_t run[static 2], int to, int origin, uint64_t size,
		    const DiskProgress *progress)
{
	uint64_t at = run[0];
	int r = 0;

	while (r == 0 && at < run[1]) {
		ssize_t n = copy_some(to, origin, at, run[1] - at);

		if (n == 0)
			return -EIO;
		if (n < 0 && n != -EINTR)
			return (int)n;
		at += n > 0 ? (uint64_t)n : 0;
		r = disk_progress(progress, at, size);
	}
	return r;
}

static int copy_data(int to, int origin, uint64_t size, const DiskProgress *progress)
{
	uint64_t run[2] = { 0 };
	int r = 0;

	while (r == 0 && run[1] < size) {
		r = disk_next_data(run, origin, run[1], size);
		if (r == 0)
			r = copy_run(run, to, origin, size, progress);
	}
	return r;
}

typedef struct Clone {
	const char *path;
	const DiskCloneOptions *options;
	int fd, origin;
	struct stat st; /* of the origin */
	DiskCloneWay way;
} Clone;

static int copy(const Clone *clone, Error *err)
{
	uint64_t bytes = disk_allocated(&clone->st);
	uint64_t size = (uint64_t)clone->st.st_size;
	int r;

	if (disk_check_room(clone->fd, clone->path, bytes, clone->options->spare, err) < 0)
		return -1;
	r = ftruncate(clone->fd, (off_t)size) < 0 ? -errno : 0;
	if (r == 0)
		r = copy_data(clone->fd, clone->origin, size, clone->options->progress);
	if (r == 0 && fsync(clone->fd) < 0)
		r = -errno;
	return r < 0 ? disk_error(err, -r, "copy to %s", clone->path) : 0;
}

static int fill(Clone *clone, Error *err)
{
	if (disk_check_room(clone->fd, clone->path, 0, clone->options->spare, err) < 0)
		return -1;
	clone->way = DISK_CLONE_REFLINK;
	if (ioctl(clone->fd, FICLONE, clone->origin) == 0)
		return 0;
	if (!is_inability(errno))
		return disk_error(err, errno, "reflink to %s", clone->path);
	clone->way = DISK_CLONE_COPY;
	return copy(clone, err);
}

static int grow(const Clone *clone, Error *err)
{
	uint64_t size = clone->options->size;

	if (size <= (uint64_t)clone->st.st_size)
		return 0;
	if (ftruncate(clone->fd, (off_t)size) < 0 ||
	    (clone->way == DISK_CLONE_COPY && fsync(clone->fd) < 0))
		return disk_error(err, errno, "grow %s", clone->path);
	return 0;
}

static int make_durable(const char *path, Error *err)
{
	int r = file_sync(path);

	if (r == 0)
		return 0;
	(void)unlink(path);
	return disk_error(err, -r, "sync %s", path);
}

int disk_clone(DiskCloneWay *ret, const char *to, int origin, const DiskCloneOptions *options,
	       Error *err)
{
	Clone clone = { .path = to, .options = options, .origin = origin };
	cleanup_close int fd = -1;

	if (fstat(origin, &clone.st) < 0)
		return disk_error(err, errno, "look at the origin of %s", to);
	if (options->size && options->size < (uint64_t)clone.st.st_size)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "%s of %" PRIu64 " bytes: its origin has %jd", to,
				       options->size, (intmax_t)clone.st.st_size);

	if (disk_aside(&fd, to, options->mode, err) < 0)
		return -1;
	clone.fd = fd;
	if (fill(&clone, err) < 0 || grow(&clone, err) < 0 || disk_publish(fd, to, err) < 0 ||
	    (options->durable && make_durable(to, err) < 0))
		return -1;
	*ret = clone.way;
	return 0;
}

bool disk_can_reflink(const char *dir, const char *origins)
{
	cleanup_free char *to = text_printf("%s/probe", dir);
	cleanup_free char *from = text_printf("%s/probe", origins);
	cleanup_close int clone = -1, origin = -1;
	Error none = { 0 };

	return disk_aside(&clone, to, 0600, &none) == 0 &&
	       disk_aside(&origin, from, 0600, &none) == 0 && disk_write(origin, "", 1, 0) == 0 &&
	       ioctl(clone, FICLONE, origin) == 0;
}
