/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/images/aside.h"
#include "runtime/images/disk_layout.h"
#include "runtime/images/oci_blobs.h"
#include "runtime/images/templates_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/*
 * The image is read twice: for where its bytes lie, and to be copied. The digest is that of the
 * bytes that were written, so that it is true whatever happens to the source. The directory gets
 * its name when all of it is on the disk; the image in it is not touched by that, and so has the
 * identity that was remembered with its digest.
 */

enum {
	SECTOR = 512,
	PIECE = 1 << 20,
	HEAD = 4096,
};

/* What raw images are taken for by those who wanted to import something else. */
static const struct {
	const char *magic;
	size_t length;
	const char *what;
} formats[] = {
	{ "QFI\xfb", 4, "a qcow2 image" },
	{ "KDMV", 4, "a VMDK image" },
	{ "vhdxfile", 8, "a VHDX image" },
	{ "conectix", 8, "a VHD image" },
	{ "\x1f\x8b", 2, "compressed by gzip" },
	{ "\x28\xb5\x2f\xfd", 4, "compressed by zstd" },
	{ "\xfd"
	  "7zXZ",
	  5, "compressed by xz" },
	{ "BZh", 3, "compressed by bzip2" },
};

typedef struct Import {
	Templates *templates;
	const TemplateImport *asked;
	Entry *entry;
	DiskProgress progress; /* of reading the source twice */
	bool is_oci;
	Unpacked unpacked; /* the source, if the image was an OCI image */
	int source, fd;    /* fd: the new image */
	DiskIdentity was;  /* the source */
	DiskLayout layout;
	char *dir, *image; /* aside */
	uint64_t allocated;
	DiskHasher *hasher;
	TemplateStamp stamp;
} Import;

/* Both times it is read are one thing to who waits for it. */
typedef struct Part {
	const DiskProgress *of;
	uint64_t before;
} Part;

static bool step(void *user, uint64_t done, uint64_t total)
{
	const Part *part = user;

	return disk_progress(part->of, part->before + done, 2 * total) == 0;
}

/* Of an OCI image two things: before it is an image, and then. */
static bool step_before(void *user, uint64_t done, uint64_t total)
{
	const Import *import = user;

	return disk_progress(import->asked->progress, done, 2 * total) == 0;
}

static bool step_after(void *user, uint64_t done, uint64_t total)
{
	const Import *import = user;

	return disk_progress(import->asked->progress, total + done, 2 * total) == 0;
}

static int check_source(const Import *import, Error *err)
{
	const char *path = import->asked->path;
	uint64_t size = import->was.size;
	char head[HEAD];
	ssize_t n = disk_read(import->source, head, sizeof head, 0);

	if (n < 0)
		return disk_error(err, (int)-n, "read %s", path);
	for (size_t i = 0; i < array_size(formats); i++)
		if ((size_t)n >= formats[i].length &&
		    memcmp(head, formats[i].magic, formats[i].length) == 0)
			return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
					       "%s is %s, not a raw image", path, formats[i].what);
	if (!size || size % SECTOR)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "%s has %" PRIu64 " bytes: a raw image has sectors of %d",
				       path, size, SECTOR);
	if (size > import->templates->max_image_bytes)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "%s has %" PRIu64 " bytes, and an image may have %" PRIu64,
				       path, size, import->templates->max_image_bytes);
	return 0;
}

static int unpack(Import *import, Error *err)
{
	const DiskProgress before = { .step = step_before, .user = import };

	if (template_unpack(import->templates, import->asked, &before, &import->unpacked, err) < 0)
		return -1;
	import->source = import->unpacked.fd;
	import->progress = (DiskProgress){ .step = step_after, .user = import };
	return 0;
}

static int open_raw(Import *import, Error *err)
{
	const TemplateImport *asked = import->asked;

	if (asked->reference || asked->size)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "%s is a raw image: it has its size, and no images to "
				       "choose from",
				       asked->path);
	if (asked->progress)
		import->progress = *asked->progress;
	return disk_open(&import->source, AT_FDCWD, asked->path, err);
}

static int open_source(Import *import, Error *err)
{
	Part part = { .of = &import->progress };
	const DiskProgress progress = { .step = step, .user = &part };
	int r;

	if ((import->is_oci ? unpack(import, err) : open_raw(import, err)) < 0)
		return -1;
	(void)posix_fadvise(import->source, 0, 0, POSIX_FADV_SEQUENTIAL);
	r = disk_identity_get(&import->was, import->source);
	if (r < 0)
		return disk_error(err, -r, "look at %s", import->asked->path);
	if (check_source(import, err) < 0)
		return -1;
	return disk_layout_scan(&import->layout, import->source, import->asked->path, &progress,
				err);
}

static int make_aside(Import *import, Error *err)
{
	if (mkdir(import->dir, 0700) < 0)
		return disk_error(err, errno, "make %s", import->dir);
	import->fd = open(import->image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (import->fd < 0 || ftruncate(import->fd, (off_t)import->layout.size) < 0)
		return disk_error(err, errno, "make %s", import->image);
	return 0;
}

static int refuse_changed(const Import *import, Error *err)
{
	return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
			       "%s was changed while it was imported", import->asked->path);
}

/* All of a run at once is one extent, if the disk has room for that in one place. */
static int allocate(const Import *import, const DiskRun *run, Error *err)
{
	if (fallocate(import->fd, 0, (off_t)run->at, (off_t)(run->end - run->at)) < 0 &&
	    errno != EOPNOTSUPP)
		return disk_error(err, errno, "write %s", import->image);
	return 0;
}

static int copy_run(Import *import, const DiskRun *run, const DiskProgress *progress, Error *err)
{
	cleanup_free char *piece = must_realloc(NULL, PIECE, 1);
	uint64_t at = run->at;

	while (at < run->end) {
		uint64_t left = run->end - at;
		ssize_t n = disk_read(import->source, piece, left < PIECE ? left : PIECE, at);
		int r;

		if (n < 0)
			return disk_error(err, (int)-n, "read %s", import->asked->path);
		if (n == 0)
			return refuse_changed(import, err);
		disk_hasher_add(import->hasher, piece, (size_t)n);
		r = disk_write(import->fd, piece, (size_t)n, at);
		at += (uint64_t)n;
		if (r == 0)
			r = disk_progress(progress, at, import->layout.size);
		if (r < 0)
			return disk_error(err, -r, "write %s", import->image);
	}
	return 0;
}

static int copy(Import *import, Error *err)
{
	const DiskLayout *layout = &import->layout;
	Part part = { .of = &import->progress, .before = layout->size };
	const DiskProgress progress = { .step = step, .user = &part };
	uint64_t at = 0;
	int r;

	for (size_t i = 0; i < layout->count; i++) {
		disk_hasher_add_zeros(import->hasher, layout->runs[i].at - at);
		if (allocate(import, &layout->runs[i], err) < 0 ||
		    copy_run(import, &layout->runs[i], &progress, err) < 0)
			return -1;
		at = layout->runs[i].end;
	}
	disk_hasher_add_zeros(import->hasher, layout->size - at);
	disk_hasher_end(import->hasher, import->stamp.digest);
	r = disk_progress(&progress, layout->size, layout->size);
	return r < 0 ? disk_error(err, -r, "write %s", import->image) : 0;
}

/* Was it the image that was meant, in one piece? */
static int check_copy(const Import *import, Error *err)
{
	const TemplateImport *asked = import->asked;
	DiskIdentity now;
	int r = disk_identity_get(&now, import->source);

	if (r < 0)
		return disk_error(err, -r, "look at %s", asked->path);
	if (!disk_identity_equal(&import->was, &now))
		return refuse_changed(import, err);
	if (asked->digest && !text_equal(asked->digest, import->stamp.digest))
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_CORRUPT,
				       "%s has SHA-256 %s, and is to have %s", asked->path,
				       import->stamp.digest, asked->digest);
	return 0;
}

static void set_origin(Import *import)
{
	char *at = import->stamp.source;
	const char *end = at + sizeof import->stamp.source;

	if (import->is_oci)
		at = text_append(at, end, "sha256:%s of ", import->unpacked.digest);
	(void)text_append(at, end, "%s", import->asked->path);
}

/* Puts image and stamp on the disk. */
static int finish_aside(Import *import, Error *err)
{
	struct stat st;

	if (fchmod(import->fd, 0444) < 0 || fsync(import->fd) < 0 || fstat(import->fd, &st) < 0)
		return disk_error(err, errno, "sync %s", import->image);
	import->allocated = disk_allocated(&st);
	import->stamp.size = import->layout.size;
	import->stamp.stamped = clock_wall_us();
	set_origin(import);
	return template_stamp_write(import->dir, &import->stamp, err);
}

/* So that its first clone need not read it. */
static void remember_digest(const Import *import)
{
	DiskIdentity identity;

	if (disk_identity_get(&identity, import->fd) == 0 && disk_identity_settle(&identity))
		hash_cache_put(import->templates->hashes, &identity, import->stamp.digest);
}

static int publish(const Import *import, Error *err)
{
	cleanup_free char *path = template_path(import->templates, import->entry->name, NULL);

	remember_digest(import);
	if (renameat2(AT_FDCWD, import->dir, AT_FDCWD, path, RENAME_NOREPLACE) < 0)
		return disk_error(err, errno, "name %s", path);
	if (fsync(import->templates->fd) < 0) {
		int error = errno;

		(void)rename(path, import->dir);
		return disk_error(err, error, "sync %s", import->templates->dir);
	}
	return 0;
}

static int make(Import *import, Error *err)
{
	if (make_aside(import, err) < 0 || copy(import, err) < 0 || check_copy(import, err) < 0 ||
	    finish_aside(import, err) < 0)
		return -1;
	return publish(import, err);
}

static int make_within_room(Import *import, Error *err)
{
	DiskRoom *room = import->templates->room;
	uint64_t bytes;
	int r;

	if (open_source(import, err) < 0)
		return -1;
	bytes = import->layout.data;
	if (template_take_room(import->templates, bytes, import->asked->path, err) < 0)
		return -1;
	r = make(import, err);
	disk_room_settle(room, bytes, r == 0 ? import->allocated : 0);
	if (r < 0)
		(void)!file_remove_tree(import->dir);
	return r;
}

static int run(Templates *templates, const TemplateImport *asked, Entry *entry, Error *err)
{
	cleanup_free char *dir = aside_path(templates->dir, "import");
	cleanup_free char *image = text_printf("%s/" TEMPLATE_IMAGE, dir);
	cleanup_(disk_hasher_freep) DiskHasher *hasher = disk_hasher_new();
	Import import = {
		.templates = templates,
		.asked = asked,
		.entry = entry,
		.is_oci = oci_blobs_fit(asked->path),
		.source = -1,
		.fd = -1,
		.dir = dir,
		.image = image,
		.hasher = hasher,
	};
	int r = make_within_room(&import, err);

	closep(&import.source);
	closep(&import.fd);
	disk_room_settle(templates->room, import.unpacked.room, 0);
	if (r == 0)
		template_came(templates, entry, &import.stamp, import.allocated);
	else
		template_came_not(templates, entry);
	return r;
}

/* Is what there is what was asked for? A retry does nothing twice. */
static bool is_there(Templates *templates, const TemplateImport *asked, TemplateInfo *ret)
{
	Error none = { 0 };

	return asked->digest && templates_get(templates, asked->name, ret, &none) == 0 &&
	       ret->stamped && text_equal(ret->stamp.digest, asked->digest);
}

int templates_import(Templates *templates, const TemplateImport *import, TemplateInfo *ret,
		     Error *err)
{
	Entry *entry;

	if (template_check_name(import->name, err) < 0)
		return -1;
	if (import->digest && !disk_digest_is_valid(import->digest))
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "'%s' is no SHA-256: 64 of 0-9 and a-f", import->digest);
	if (is_there(templates, import, ret))
		return 0;
	if (template_reserve(templates, import->name, &entry, err) < 0 ||
	    run(templates, import, entry, err) < 0)
		return -1;
	return templates_get(templates, import->name, ret, err);
}
