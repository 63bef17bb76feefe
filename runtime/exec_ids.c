/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/exec_ids.h"

#include "base/text.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

/*
 * How many there have been, then the last of them, each in a place of its own. A place and the
 * count are synced before the program is run, in one go: which of both came first is nobody's
 * loss.
 */
typedef struct Ids {
	uint64_t count;
	char places[EXEC_IDS_KEPT][EXEC_ID_MAX];
} Ids;

static int open_locked(int *ret, const char *path)
{
	cleanup_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return -errno;
	*ret = take_fd(fd);
	return 0;
}

/* Return: how much of it there is, or -errno. */
static ssize_t read_all(int fd, Ids *ids)
{
	size_t done = 0;
	ssize_t n;

	while ((n = pread(fd, (char *)ids + done, sizeof *ids - done, (off_t)done)) > 0)
		done += (size_t)n;
	return n < 0 ? -errno : (ssize_t)done;
}

static bool has(const Ids *ids, const char place[static EXEC_ID_MAX])
{
	for (size_t i = 0; i < EXEC_IDS_KEPT && i < ids->count; i++)
		if (memcmp(ids->places[i], place, EXEC_ID_MAX) == 0)
			return true;
	return false;
}

static int add(int fd, uint64_t count, const char place[static EXEC_ID_MAX])
{
	off_t at = (off_t)(offsetof(Ids, places) + count % EXEC_IDS_KEPT * EXEC_ID_MAX);

	count++;
	if (pwrite(fd, place, EXEC_ID_MAX, at) != EXEC_ID_MAX ||
	    pwrite(fd, &count, sizeof count, 0) != sizeof count || fdatasync(fd) < 0)
		return errno ? -errno : -EIO;
	return 0;
}

int exec_ids_spend(const char *run_dir, const char *id, Error *err)
{
	cleanup_free char *path = text_printf("%s/exec_ids", run_dir);
	cleanup_free Ids *ids = new0(Ids);
	cleanup_close int fd = -1;
	char place[EXEC_ID_MAX] = { 0 };
	ssize_t r = open_locked(&fd, path);

	memcpy(place, id, strnlen(id, sizeof place));
	if (r == 0)
		r = read_all(fd, ids);
	if (r >= 0 && has(ids, place))
		return error_set_cause(err, ERROR_GUEST_METADATA, CAUSE_EXISTS,
				       "exec: exec_id '%s' was used before", id);
	errno = 0;
	if (r >= 0)
		r = add(fd, ids->count, place);
	return r < 0 ? error_set_errno(err, ERROR_GUEST_METADATA, (int)-r, "exec: %s", path) : 0;
}
