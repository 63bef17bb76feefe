/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/images/templates_internal.h"

#include <inttypes.h>
#include <sys/stat.h>

enum {
	SECTOR = 512,
	EXT4_MAGIC_AT = 1080,
};

/* ext2, 3 or 4. */
static bool is_ext4(int image)
{
	static const unsigned char magic[] = { 0x53, 0xef };
	unsigned char found[sizeof magic];

	return disk_read(image, found, sizeof found, EXT4_MAGIC_AT) == sizeof found &&
	       found[0] == magic[0] && found[1] == magic[1];
}

static int clone_of(Templates *templates, const TemplateClone *clone, int origin, DiskCloneWay *ret,
		    Error *err)
{
	DiskCloneOptions options = {
		.size = clone->size,
		.mode = 0600,
		.durable = clone->durable,
		.progress = clone->progress,
	};

	(void)disk_room_read(templates->room, NULL, &options.spare);
	return disk_clone(ret, clone->to, origin, &options, err);
}

static int clone_entry(Templates *templates, Entry *entry, const TemplateClone *clone,
		       DiskCloneWay *ret, Error *err)
{
	cleanup_close int image = -1, grown = -1;
	struct stat st;

	if (template_open_image(templates, entry, false, clone->progress, &image, err) < 0)
		return -1;
	if (fstat(image, &st) < 0)
		return disk_error(err, errno, "look at template '%s'", entry->name);
	if (clone->size <= (uint64_t)st.st_size || !is_ext4(image))
		return clone_of(templates, clone, image, ret, err);
	if (template_open_grown(templates, entry, image, clone->size, &grown, err) < 0)
		return -1;
	return clone_of(templates, clone, grown, ret, err);
}

int templates_clone(Templates *templates, const TemplateClone *clone, DiskCloneWay *ret, Error *err)
{
	Entry *entry;
	int r;

	if (clone->size % SECTOR)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
				       "%s of %" PRIu64 " bytes: a disk has sectors of %d",
				       clone->to, clone->size, SECTOR);
	if (template_hold(templates, clone->name, &entry, err) < 0)
		return -1;
	r = clone_entry(templates, entry, clone, ret, err);
	template_release(templates, entry);
	return r;
}
