/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/images/aside.h"
#include "runtime/images/image_tools.h"
#include "runtime/images/templates_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Images that were grown. Each is a disk of its own in the template's directory, known by its
 * identity to the agent that made it: nobody hashes it, and it is made anew if it was changed.
 */

enum {
	PROGRAM_SEC = 300,
	FSCK_CORRECTED = 3, /* the exit codes that say so, or'ed (e2fsck(8)) */
};

static char *path_of(const Templates *templates, const Entry *entry, uint64_t size)
{
	cleanup_free char *file = text_printf("grown-%" PRIu64 ".ext4", size);

	return template_path(templates, entry->name, file);
}

static int open_grown(const Templates *templates, const char *path, int *ret, Error *err)
{
	return disk_open(ret, templates->fd, path + strlen(templates->dir) + 1, err);
}

/* Return: its exit code, with @err set if that is not 0, or -1. */
static int run(const Templates *templates, int image, char *const argv[], Error *err)
{
	const ImageTool tool = {
		.argv = argv,
		.uid = templates->tool_uid,
		.file = image,
		.timeout = (int64_t)PROGRAM_SEC * USEC_PER_SEC,
	};
	ImageToolResult result = { 0 };
	int r = image_tool_run(&result, &tool, err);

	if (r < 0)
		return -1;
	if (result.code != 0)
		(void)image_tool_failed(&tool, &result, err);
	free(result.output);
	return result.code;
}

/* One that was mounted is refused until it was checked. */
static int resize(const Templates *templates, int image, Error *err)
{
	char path[] = IMAGE_TOOL_FILE;
	char *const grow[] = { (char[]){ "resize2fs" }, path, NULL };
	char *const check[] = { (char[]){ "e2fsck" }, (char[]){ "-fy" }, path, NULL };
	int code = run(templates, image, grow, err);

	if (code <= 0)
		return code;
	error_clear(err);
	code = run(templates, image, check, err);
	if (code < 0 || code & ~FSCK_CORRECTED)
		return -1;
	error_clear(err);
	return run(templates, image, grow, err) == 0 ? 0 : -1;
}

/* Under the name @aside, open to be written. */
static int make(Templates *templates, int image, uint64_t size, const char *aside, int *ret,
		Error *err)
{
	DiskCloneOptions options = { .size = size, .mode = 0600 };
	cleanup_close int fd = -1;
	DiskCloneWay way;

	(void)disk_room_read(templates->room, NULL, &options.spare);
	if (disk_clone(&way, aside, image, &options, err) < 0)
		return -1;
	fd = open(aside, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return disk_error(err, errno, "open %s", aside);
	if (resize(templates, fd, err) < 0)
		return -1;
	*ret = take_fd(fd);
	return 0;
}

/* From now on it is what it is, and known by that; the new name changes the ctime. */
static int publish(Grown *grown, int fd, const char *aside, const char *path, Error *err)
{
	struct stat st;
	int r;

	if (fchmod(fd, 0400) < 0 || fsync(fd) < 0 || fstat(fd, &st) < 0 || rename(aside, path) < 0)
		return disk_error(err, errno, "make %s", path);
	r = disk_identity_get(&grown->identity, fd);
	if (r < 0)
		return disk_error(err, -r, "look at %s", path);
	(void)!disk_identity_settle(&grown->identity);
	grown->allocated = disk_allocated(&st);
	return 0;
}

/* Open, it is there whatever happens to its name. */
static int make_open(Templates *templates, Grown *grown, int image, const char *path, int *ret,
		     Error *err)
{
	cleanup_free char *aside = aside_path(templates->dir, "grow");
	cleanup_close int fd = -1;

	if (make(templates, image, grown->size, aside, &fd, err) < 0 ||
	    publish(grown, fd, aside, path, err) < 0) {
		(void)unlink(aside);
		(void)unlink(path);
		return -1;
	}
	*ret = take_fd(fd);
	return 0;
}

static void forget(Templates *templates, Entry *entry, size_t at)
{
	cleanup_free char *path = path_of(templates, entry, entry->grown[at].size);

	(void)unlink(path);
	disk_room_give(templates->room, entry->grown[at].allocated);
	entry->grown_count--;
	memmove(&entry->grown[at], &entry->grown[at + 1],
		(entry->grown_count - at) * sizeof *entry->grown);
}

/* Is it there as it was made? */
static bool open_as_made(const Templates *templates, const Entry *entry, const Grown *grown,
			 int *ret)
{
	cleanup_free char *path = path_of(templates, entry, grown->size);
	cleanup_close int fd = -1;
	DiskIdentity now;
	Error none = { 0 };

	if (open_grown(templates, path, &fd, &none) < 0 || disk_identity_get(&now, fd) < 0 ||
	    !disk_identity_equal(&now, &grown->identity))
		return false;
	*ret = take_fd(fd);
	return true;
}

/* Opens the one that is kept; what is not as it was made is forgotten. */
static bool open_kept(Templates *templates, Entry *entry, uint64_t size, int *ret)
{
	for (size_t i = 0; i < entry->grown_count; i++) {
		if (entry->grown[i].size != size)
			continue;
		if (open_as_made(templates, entry, &entry->grown[i], ret))
			return true;
		forget(templates, entry, i);
		return false;
	}
	return false;
}

static int make_kept(Templates *templates, Entry *entry, int image, uint64_t size, int *ret,
		     Error *err)
{
	cleanup_free char *path = path_of(templates, entry, size);
	Grown grown = { .size = size };
	struct stat st;
	uint64_t bytes;
	int r;

	if (fstat(image, &st) < 0)
		return disk_error(err, errno, "look at template '%s'", entry->name);
	bytes = disk_allocated(&st);
	if (template_take_room(templates, bytes, path, err) < 0)
		return -1;
	r = make_open(templates, &grown, image, path, ret, err);
	disk_room_settle(templates->room, bytes, grown.allocated);
	if (r < 0)
		return -1;
	if (entry->grown_count == TEMPLATE_GROWN_MAX)
		forget(templates, entry, 0);
	entry->grown[entry->grown_count++] = grown;
	return 0;
}

int template_open_grown(Templates *templates, Entry *entry, int image, uint64_t size, int *ret,
			Error *err)
{
	int r = 0;

	template_claim(templates, entry);
	if (!open_kept(templates, entry, size, ret))
		r = make_kept(templates, entry, image, size, ret, err);
	template_settle(templates, entry);
	return r;
}

/* One that has grown images and nobody else works with. */
static Entry *claim_any_grown(Templates *templates)
{
	Entry *found = NULL;

	lock_take(&templates->lock);
	for (Entry *entry = templates->entries; entry && !found; entry = entry->hh.next)
		if (!entry->claimed && !entry->absent && entry->grown_count)
			found = entry;
	if (found) {
		found->claimed = true;
		found->holds++;
	}
	lock_drop(&templates->lock);
	return found;
}

int template_take_room(Templates *templates, uint64_t bytes, const char *what, Error *err)
{
	Entry *entry;

	while (disk_room_take(templates->room, bytes, what, err) < 0) {
		entry = claim_any_grown(templates);
		if (!entry)
			return -1;
		while (entry->grown_count)
			forget(templates, entry, 0);
		template_settle(templates, entry);
		template_release(templates, entry);
		error_clear(err);
	}
	return 0;
}
