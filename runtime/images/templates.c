/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/images/aside.h"
#include "runtime/images/templates_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const char *const asides[] = { "import", "grow", "deleted", NULL };

char *template_path(const Templates *templates, const char *name, const char *file)
{
	return text_printf("%s/%s%s%s", templates->dir, name, file ? "/" : "", file ? file : "");
}

int template_check_name(const char *name, Error *err)
{
	if (text_is_id(name))
		return 0;
	return error_set_cause(err, ERROR_ROOTFS, CAUSE_INPUT,
			       "'%s' is no name of a template: up to 63 of a-z, 0-9 and, within, -",
			       name);
}

/* NOLINTBEGIN(readability-function-*): the insides of uthash's macros */
static Entry *find(Templates *templates, const char *name) lock_requires(templates->lock)
{
	Entry *entry;

	HASH_FIND_STR(templates->entries, name, entry);
	return entry;
}

static void add(Templates *templates, Entry *entry) lock_requires(templates->lock)
{
	HASH_ADD_STR(templates->entries, name, entry);
}

static void drop(Templates *templates, Entry *entry) lock_requires(templates->lock)
{
	HASH_DEL(templates->entries, entry);
}
/* NOLINTEND(readability-function-*) */

/* What was grown by an agent before: whether it is still that, nobody knows. */
static void remove_grown(const Templates *templates, const char *name)
{
	cleanup_free char *path = template_path(templates, name, NULL);
	cleanup_closedir DIR *dir = opendir(path);
	const struct dirent *file;

	while (dir && (file = readdir(dir)))
		if (strncmp(file->d_name, "grown-", strlen("grown-")) == 0)
			(void)unlinkat(dirfd(dir), file->d_name, 0);
}

static Entry *entry_new(const char *name)
{
	Entry *entry = new0(Entry);

	text_copy(entry->name, sizeof entry->name, name);
	return entry;
}

/* What the directory has, for the table. ROOTFS/MISSING if there is none. */
static int load(const Templates *templates, const char *name, Entry **ret, Error *err)
{
	cleanup_free char *image = template_path(templates, name, TEMPLATE_IMAGE);
	struct stat st;
	Entry *entry;

	if (fstatat(templates->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_MISSING, "template '%s' not found",
				       name);
	remove_grown(templates, name);
	entry = entry_new(name);
	if (lstat(image, &st) == 0)
		entry->allocated = disk_allocated(&st);
	*ret = entry;
	return 0;
}

/* The entry in the table; not there is not an error. */
static bool hold_known(Templates *templates, const char *name, Entry **ret, bool *absent)
{
	Entry *entry;

	lock_take(&templates->lock);
	entry = find(templates, name);
	*absent = entry && entry->absent;
	if (entry && !*absent) {
		entry->holds++;
		*ret = entry;
	}
	lock_drop(&templates->lock);
	return entry && !*absent;
}

/* Puts @fresh into the table, unless another came first. */
static void add_loaded(Templates *templates, Entry *fresh)
{
	bool is_new;

	lock_take(&templates->lock);
	is_new = !find(templates, fresh->name);
	if (is_new)
		add(templates, fresh);
	lock_drop(&templates->lock);

	if (is_new)
		disk_room_add(templates->room, fresh->allocated);
	else
		free(fresh);
}

int template_hold(Templates *templates, const char *name, Entry **ret, Error *err)
{
	Entry *fresh;
	bool absent;

	if (template_check_name(name, err) < 0)
		return -1;
	while (!hold_known(templates, name, ret, &absent)) {
		if (absent)
			return error_set_cause(err, ERROR_ROOTFS, CAUSE_MISSING,
					       "template '%s' is being imported or deleted", name);
		if (load(templates, name, &fresh, err) < 0)
			return -1;
		add_loaded(templates, fresh);
	}
	return 0;
}

void template_release(Templates *templates, Entry *entry)
{
	lock_take(&templates->lock);
	entry->holds--;
	lock_drop(&templates->lock);
}

void template_claim(Templates *templates, Entry *entry)
{
	lock_take(&templates->lock);
	while (entry->claimed)
		cond_wait(&templates->settled, &templates->lock);
	entry->claimed = true;
	lock_drop(&templates->lock);
}

void template_settle(Templates *templates, Entry *entry)
{
	lock_take(&templates->lock);
	entry->claimed = false;
	cond_broadcast(&templates->settled);
	lock_drop(&templates->lock);
}

static bool is_on_disk(const Templates *templates, const char *name)
{
	struct stat st;

	return fstatat(templates->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* The entry of one that is not on the disk: @fresh, or that of one which somebody has removed by
 * hand and VMs may still depend on. NULL: another call works with it. */
static Entry *reserve(Templates *templates, Entry *fresh) lock_requires(templates->lock)
{
	Entry *there = find(templates, fresh->name);

	if (there && (there->absent || there->holds))
		return NULL;
	if (!there) {
		add(templates, fresh);
		there = fresh;
	}
	there->absent = true;
	return there;
}

int template_reserve(Templates *templates, const char *name, Entry **ret, Error *err)
{
	Entry *reserved = NULL;

	if (!is_on_disk(templates, name)) {
		Entry *fresh = entry_new(name);

		lock_take(&templates->lock);
		reserved = reserve(templates, fresh);
		lock_drop(&templates->lock);
		if (reserved != fresh)
			free(fresh);
	}
	/* It may have come between the look and the reservation. */
	if (reserved && is_on_disk(templates, name)) {
		template_came_not(templates, reserved);
		reserved = NULL;
	}
	if (!reserved)
		return error_set_cause(err, ERROR_ROOTFS, CAUSE_EXISTS,
				       "template '%s' exists already", name);
	*ret = reserved;
	return 0;
}

/* Nothing of it is on the disk any more. */
static void give_room(Templates *templates, Entry *entry)
{
	uint64_t gone = entry->allocated;

	for (size_t i = 0; i < entry->grown_count; i++)
		gone += entry->grown[i].allocated;
	entry->allocated = 0;
	entry->grown_count = 0;
	disk_room_give(templates->room, gone);
}

void template_came(Templates *templates, Entry *entry, const TemplateStamp *stamp,
		   uint64_t allocated)
{
	give_room(templates, entry);
	lock_take(&templates->lock);
	entry->absent = false;
	entry->stamped = true;
	entry->stamp = *stamp;
	entry->allocated = allocated;
	lock_drop(&templates->lock);
}

void template_came_not(Templates *templates, Entry *entry)
{
	bool is_needed;

	give_room(templates, entry);
	lock_take(&templates->lock);
	is_needed = entry->users > 0;
	entry->absent = false;
	if (!is_needed)
		drop(templates, entry);
	lock_drop(&templates->lock);

	if (!is_needed)
		free(entry);
}

/* Removes what was never finished, and takes in what is there. */
static int look_around(Templates *templates, Error *err)
{
	cleanup_closedir DIR *dir = opendir(templates->dir);
	const struct dirent *file;

	if (!dir)
		return disk_error(err, errno, "read %s", templates->dir);
	while ((file = readdir(dir))) {
		cleanup_free char *path = template_path(templates, file->d_name, NULL);
		Error none = { 0 };
		Entry *entry;
		int r = aside_is(file->d_name, asides) ? file_remove_tree(path) : 0;

		if (r < 0)
			return disk_error(err, -r, "remove %s", path);
		if (text_is_id(file->d_name) &&
		    template_hold(templates, file->d_name, &entry, &none) == 0)
			template_release(templates, entry);
	}
	return 0;
}

int templates_open(Templates **ret, const TemplatesConfig *config, Error *err)
{
	cleanup_(templates_closep) Templates *templates = new0(Templates);
	cleanup_free char *hashes = text_printf("%s/.hashes", config->dir);
	int r = file_make_dirs(config->dir);

	templates->dir = text_dup(config->dir);
	templates->max_image_bytes = config->max_image_bytes ? config->max_image_bytes : INT64_MAX;
	templates->tool_uid = config->tool_uid;
	templates->unpacker = text_dup(config->unpacker ? config->unpacker : "hearth-unpack");
	lock_init(&templates->lock);
	cond_init(&templates->settled);
	templates->room = disk_room_new(config->dir, config->max_bytes, config->spare_bytes);
	templates->hashes = hash_cache_open(hashes);
	templates->fd = open(config->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r < 0 || templates->fd < 0)
		return disk_error(err, r < 0 ? -r : errno, "open %s", config->dir);
	if (look_around(templates, err) < 0)
		return -1;
	*ret = take_ptr(templates);
	return 0;
}

void templates_close(Templates *templates)
{
	Entry *entry;

	if (!templates)
		return;
	lock_take(&templates->lock);
	while ((entry = templates->entries)) {
		drop(templates, entry);
		free(entry);
	}
	lock_drop(&templates->lock);
	if (templates->fd >= 0)
		(void)close(templates->fd);
	hash_cache_close(templates->hashes);
	disk_room_free(templates->room);
	cond_destroy(&templates->settled);
	free(templates->unpacker);
	free(templates->dir);
	free(templates);
}

/* Takes @entry out of what can be found, for as long as it is being deleted. */
static int claim_deletion(Templates *templates, Entry *entry, Error *err)
{
	size_t users, others;

	lock_take(&templates->lock);
	users = entry->users;
	others = entry->holds - 1;
	if (!users && !others)
		entry->absent = true;
	lock_drop(&templates->lock);

	if (users)
		return error_set(err, ERROR_IN_USE, "template '%s' is used by %zu VM%s",
				 entry->name, users, users == 1 ? "" : "s");
	if (others)
		return error_set(err, ERROR_IN_USE, "template '%s' is being cloned or read",
				 entry->name);
	return 0;
}

/* It has its name no more, durably, before anything of it is lost. */
static int move_aside(const Templates *templates, const char *name, const char *aside, Error *err)
{
	cleanup_free char *path = template_path(templates, name, NULL);

	if (rename(path, aside) < 0)
		return disk_error(err, errno, "remove %s", path);
	if (fsync(templates->fd) < 0)
		return disk_error(err, errno, "sync %s", templates->dir);
	return 0;
}

int templates_delete(Templates *templates, const char *name, Error *err)
{
	cleanup_free char *aside = aside_path(templates->dir, "deleted");
	Entry *entry;
	int r;

	if (template_hold(templates, name, &entry, err) < 0)
		return -1;
	if (claim_deletion(templates, entry, err) < 0) {
		template_release(templates, entry);
		return -1;
	}
	r = move_aside(templates, name, aside, err);
	/* What is left of it is found again at the next start, and until then under its name if
	 * it still has that. */
	template_came_not(templates, entry);
	if (r < 0)
		return -1;
	r = file_remove_tree(aside);
	return r < 0 ? disk_error(err, -r, "remove %s", aside) : 0;
}

int templates_pin(Templates *templates, const char *name, Error *err)
{
	Entry *entry;

	if (template_hold(templates, name, &entry, err) < 0)
		return -1;
	lock_take(&templates->lock);
	entry->users++;
	entry->holds--;
	lock_drop(&templates->lock);
	return 0;
}

void templates_unpin(Templates *templates, const char *name)
{
	Entry *entry;

	lock_take(&templates->lock);
	entry = find(templates, name);
	if (entry && entry->users)
		entry->users--;
	lock_drop(&templates->lock);
}
