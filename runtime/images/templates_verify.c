/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/text.h"
#include "runtime/images/templates_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

/* Whether an image is what its stamp says. */

typedef struct Image {
	Templates *templates;
	Entry *entry;
	char *path; /* for messages */
	int fd;
	DiskIdentity identity;
} Image;

/* Is it known to be as the stamp that is known says? Takes no claim, reads no file. */
static bool is_as_known(const Image *image)
{
	char digest[DISK_DIGEST_SIZE];
	TemplateStamp stamp;
	bool stamped;

	lock_take(&image->templates->lock);
	stamped = image->entry->stamped;
	stamp = image->entry->stamp;
	lock_drop(&image->templates->lock);
	return stamped && stamp.size == image->identity.size &&
	       hash_cache_find(image->templates->hashes, &image->identity, digest) &&
	       text_equal(digest, stamp.digest);
}

static void set_stamp(const Image *image, const TemplateStamp *stamp)
{
	lock_take(&image->templates->lock);
	image->entry->stamp = *stamp;
	image->entry->stamped = true;
	lock_drop(&image->templates->lock);
}

static int read_image(const Image *image, const DiskProgress *progress,
		      char ret[static DISK_DIGEST_SIZE], Error *err)
{
	return hash_cache_read(image->templates->hashes, image->fd, image->path, progress, ret,
			       err);
}

/* The image was placed here: what it is now is what it is to be. */
static int make_stamp(const Image *image, const char *dir, const DiskProgress *progress, Error *err)
{
	TemplateStamp stamp = { .size = image->identity.size, .source = "found in the catalog" };

	if (!image->identity.size)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_CORRUPT, "%s is empty",
				       image->path);
	/* It may have been placed a moment ago: what is stamped is to be what stays. */
	(void)!disk_identity_settle(&image->identity);
	if (read_image(image, progress, stamp.digest, err) < 0)
		return -1;
	stamp.stamped = clock_wall_us();
	if (template_stamp_write(dir, &stamp, err) < 0)
		return -1;
	set_stamp(image, &stamp);
	return 0;
}

static int compare(const Image *image, const TemplateStamp *stamp, const DiskProgress *progress,
		   Error *err)
{
	HashCache *hashes = image->templates->hashes;
	char digest[DISK_DIGEST_SIZE];

	if (image->identity.size != stamp->size)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_CORRUPT,
				       "%s has %" PRIu64 " bytes, and had %" PRIu64
				       " when it was stamped",
				       image->path, image->identity.size, stamp->size);
	/* Before it is called corrupt it is read, for so may the cache be. */
	if (!hash_cache_find(hashes, &image->identity, digest) ||
	    !text_equal(digest, stamp->digest)) {
		if (read_image(image, progress, digest, err) < 0)
			return -1;
	}
	if (!text_equal(digest, stamp->digest))
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_CORRUPT,
				       "%s has SHA-256 %s, and had %s when it was stamped",
				       image->path, digest, stamp->digest);
	set_stamp(image, stamp);
	return 0;
}

/* The stamp is read again: somebody may have placed another image, with its own. Claimed. */
static int look(const Image *image, const DiskProgress *progress, Error *err)
{
	cleanup_free char *dir = template_path(image->templates, image->entry->name, NULL);
	TemplateStamp stamp;
	Error none = { 0 };

	if (template_stamp_read(&stamp, dir, &none) == 0)
		return compare(image, &stamp, progress, err);
	if (none.cause == CAUSE_MISSING)
		return make_stamp(image, dir, progress, err);
	*err = none;
	return -1;
}

static int verify(const Image *image, bool read_all, const DiskProgress *progress, Error *err)
{
	int r = 0;

	if (!read_all && is_as_known(image))
		return 0;
	template_claim(image->templates, image->entry);
	if (read_all) {
		/* From the disk, not from memory. */
		(void)posix_fadvise(image->fd, 0, 0, POSIX_FADV_DONTNEED);
		hash_cache_forget(image->templates->hashes, &image->identity);
	}
	if (!is_as_known(image))
		r = look(image, progress, err);
	template_settle(image->templates, image->entry);
	return r;
}

int template_open_image(Templates *templates, Entry *entry, bool read_all,
			const DiskProgress *progress, int *ret, Error *err)
{
	cleanup_free char *path = template_path(templates, entry->name, TEMPLATE_IMAGE);
	const char *relative = path + strlen(templates->dir) + 1;
	cleanup_close int fd = -1;
	Image image = { .templates = templates, .entry = entry, .path = path };
	int r;

	if (disk_open(&fd, templates->fd, relative, err) < 0)
		return -1;
	image.fd = fd;
	r = disk_identity_get(&image.identity, fd);
	if (r < 0)
		return disk_error(err, -r, "look at %s", path);
	if (verify(&image, read_all, progress, err) < 0)
		return -1;
	*ret = take_fd(fd);
	return 0;
}

int templates_verify(Templates *templates, const char *name, bool read_all,
		     const DiskProgress *progress, Error *err)
{
	cleanup_close int fd = -1;
	Entry *entry;
	int r;

	if (template_hold(templates, name, &entry, err) < 0)
		return -1;
	r = template_open_image(templates, entry, read_all, progress, &fd, err);
	template_release(templates, entry);
	return r;
}
