/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/images/disk_layout.h"
#include "runtime/images/templates_internal.h"

#include <string.h>
#include <sys/stat.h>

/* What there is in the catalog, as far as it can be told without reading an image. */

/* The stamp, as known or else from the disk; none is no problem. */
static int add_stamp(Templates *templates, Entry *entry, TemplateInfo *info, Error *err)
{
	cleanup_free char *dir = template_path(templates, entry->name, NULL);
	Error none = { 0 };

	lock_take(&templates->lock);
	info->users = entry->users;
	info->stamped = entry->stamped;
	info->stamp = entry->stamp;
	lock_drop(&templates->lock);

	if (info->stamped)
		return 0;
	if (template_stamp_read(&info->stamp, dir, &none) == 0) {
		info->stamped = true;
		return 0;
	}
	if (none.cause == CAUSE_MISSING)
		return 0;
	*err = none;
	return -1;
}

static int add_image(Templates *templates, TemplateInfo *info, Error *err)
{
	cleanup_free char *path = template_path(templates, info->name, TEMPLATE_IMAGE);
	cleanup_free char *relative = text_printf("%s/" TEMPLATE_IMAGE, info->name);
	cleanup_close int fd = -1;
	struct stat st;

	if (disk_open(&fd, templates->fd, relative, err) < 0)
		return -1;
	if (fstat(fd, &st) < 0)
		return disk_error(err, errno, "look at %s", path);
	info->size = (uint64_t)st.st_size;
	info->allocated = disk_allocated(&st);
	info->extents = disk_layout_extents(fd);
	if (info->stamped && info->size != info->stamp.size)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_CORRUPT,
				       "%s has not the size of its stamp", path);
	return 0;
}

int templates_get(Templates *templates, const char *name, TemplateInfo *ret, Error *err)
{
	TemplateInfo info = { 0 };
	Entry *entry;

	if (template_hold(templates, name, &entry, err) < 0)
		return -1;
	text_copy(info.name, sizeof info.name, name);
	if (add_stamp(templates, entry, &info, &info.problem) == 0)
		(void)!add_image(templates, &info, &info.problem);
	template_release(templates, entry);
	*ret = info;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const TemplateInfo *)a)->name, ((const TemplateInfo *)b)->name);
}

int templates_list(Templates *templates, TemplateInfo **ret, size_t *count, Error *err)
{
	cleanup_closedir DIR *dir = opendir(templates->dir);
	TemplateInfo *infos = NULL;
	const struct dirent *file;
	size_t n = 0;

	if (!dir)
		return disk_error(err, errno, "read %s", templates->dir);
	while ((file = readdir(dir))) {
		TemplateInfo info;
		Error none = { 0 };

		/* It may be a file, or gone by now. */
		if (!text_is_id(file->d_name) ||
		    templates_get(templates, file->d_name, &info, &none) < 0)
			continue;
		infos = must_realloc(infos, n + 1, sizeof *infos);
		infos[n++] = info;
	}
	if (n)
		qsort(infos, n, sizeof *infos, compare);
	*ret = infos;
	*count = n;
	return 0;
}
