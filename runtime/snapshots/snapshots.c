/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/snapshots/snapshots.h"

#include "base/file.h"
#include "base/text.h"
#include "runtime/images/aside.h"
#include "runtime/snapshots/snapshots_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* The table of the catalog, and how it comes to be. */

static const char *const asides[] = { "draft", "flat", "deleted", NULL };

int snapshot_error(Error *err, const SnapshotKey *key)
{
	if (err->kind == ERROR_ROOTFS)
		err->kind = ERROR_SNAPSHOT_FAILED;
	error_about_snapshot(err, key->vm_id, key->snapshot_id);
	return -1;
}

int snapshot_key(SnapshotKey *ret, const char *vm_id, const char *snapshot_id, Error *err)
{
	const char *ids[] = { vm_id, snapshot_id };

	for (size_t i = 0; i < array_size(ids); i++)
		if (!text_is_id(ids[i]))
			return error_set_cause(err, ERROR_SNAPSHOT_FAILED, CAUSE_INPUT,
					       "'%s' is no id: up to 63 of a-z, 0-9 and, within, -",
					       ids[i]);
	*ret = (SnapshotKey){ 0 };
	text_copy(ret->vm_id, sizeof ret->vm_id, vm_id);
	text_copy(ret->snapshot_id, sizeof ret->snapshot_id, snapshot_id);
	return 0;
}

char *snapshot_path(const Snapshots *snapshots, const SnapshotKey *key, const char *file)
{
	return text_printf("%s/%s/%s%s%s", snapshots->dir, key->vm_id, key->snapshot_id,
			   file ? "/" : "", file ? file : "");
}

const char *snapshot_relative(const Snapshots *snapshots, const char *path)
{
	return path + strlen(snapshots->dir) + 1;
}

int snapshot_sync_dir(const char *path)
{
	cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* NOLINTBEGIN(readability-function-*): the insides of uthash's macros */
SnapshotEntry *snapshot_find(Snapshots *snapshots, const SnapshotKey *key)
{
	SnapshotEntry *entry;

	HASH_FIND(hh, snapshots->entries, key, sizeof *key, entry);
	return entry;
}

void snapshot_add(Snapshots *snapshots, SnapshotEntry *entry)
{
	HASH_ADD(hh, snapshots->entries, key, sizeof entry->key, entry);
	snapshot_changed(snapshots, entry);
}

void snapshot_drop(Snapshots *snapshots, SnapshotEntry *entry)
{
	HASH_DEL(snapshots->entries, entry);
	snapshot_changed(snapshots, entry);
}
/* NOLINTEND(readability-function-*) */

SnapshotEntry *snapshot_entry_new(const SnapshotKey *key)
{
	SnapshotEntry *entry = new0(SnapshotEntry);

	entry->key = *key;
	return entry;
}

void snapshot_entry_free(SnapshotEntry *entry)
{
	if (!entry)
		return;
	snapshot_manifest_unref(entry->manifest);
	free(entry);
}

size_t snapshot_children(Snapshots *snapshots, const SnapshotEntry *entry)
{
	size_t count = 0;

	for (const SnapshotEntry *other = snapshots->entries; other; other = other->hh.next)
		count += strcmp(other->parent, entry->key.snapshot_id) == 0 &&
			 strcmp(other->key.vm_id, entry->key.vm_id) == 0 &&
			 (other->on_disk || other->state == SNAPSHOT_CREATING);
	return count;
}

/* The one that @entry is laid over; NULL: it needs none, or that is gone. */
static SnapshotEntry *find_parent(Snapshots *snapshots, const SnapshotEntry *entry)
	lock_requires(snapshots->lock)
{
	SnapshotKey key = { 0 };

	if (!entry->parent[0])
		return NULL;
	text_copy(key.vm_id, sizeof key.vm_id, entry->key.vm_id);
	text_copy(key.snapshot_id, sizeof key.snapshot_id, entry->parent);
	return snapshot_find(snapshots, &key);
}

size_t snapshot_depth(Snapshots *snapshots, const SnapshotEntry *entry)
{
	size_t depth = 1;

	while (depth <= SNAPSHOT_CHAIN_MAX && (entry = find_parent(snapshots, entry)))
		depth++;
	return depth;
}

/* Why @entry cannot be held; 0 or -1. */
static int check_hold(const SnapshotEntry *entry, const SnapshotKey *key, Error *err)
{
	if (!entry || entry->absent)
		return error_set_snapshot(err, ERROR_SNAPSHOT_NOT_FOUND, key->vm_id,
					  key->snapshot_id);
	if (entry->state == SNAPSHOT_CREATING || entry->closed) {
		error_about_snapshot(err, key->vm_id, key->snapshot_id);
		return error_set(err, ERROR_IN_USE, "snapshot '%s' of vm '%s' is being made",
				 key->snapshot_id, key->vm_id);
	}
	if (!entry->on_disk)
		*err = entry->problem;
	return entry->on_disk ? 0 : -1;
}

int snapshot_hold(Snapshots *snapshots, const SnapshotKey *key, SnapshotEntry **ret, Error *err)
{
	SnapshotEntry *entry;
	int r;

	lock_take(&snapshots->lock);
	entry = snapshot_find(snapshots, key);
	r = check_hold(entry, key, err);
	if (r == 0) {
		entry->holds++;
		*ret = entry;
	}
	lock_drop(&snapshots->lock);
	return r;
}

void snapshot_release(Snapshots *snapshots, SnapshotEntry *entry)
{
	lock_take(&snapshots->lock);
	entry->holds--;
	lock_drop(&snapshots->lock);
}

void snapshot_claim(Snapshots *snapshots, SnapshotEntry *entry)
{
	lock_take(&snapshots->lock);
	while (entry->claimed)
		cond_wait(&snapshots->settled, &snapshots->lock);
	entry->claimed = true;
	lock_drop(&snapshots->lock);
}

void snapshot_settle(Snapshots *snapshots, SnapshotEntry *entry)
{
	lock_take(&snapshots->lock);
	entry->claimed = false;
	cond_broadcast(&snapshots->settled);
	lock_drop(&snapshots->lock);
}

void snapshot_take_in(SnapshotEntry *entry, SnapshotManifest *manifest)
{
	SnapshotManifest *old = entry->manifest;

	entry->manifest = snapshot_manifest_ref(manifest);
	entry->created = (int64_t)manifest->created;
	text_copy(entry->tenant, sizeof entry->tenant, manifest->tenant);
	text_copy(entry->request, sizeof entry->request, manifest->request);
	text_copy(entry->parent, sizeof entry->parent, manifest->parent);
	snapshot_manifest_unref(old);
}

int snapshot_read_manifest(const char *dir, const SnapshotKey *key, SnapshotManifest **ret,
			   Error *err)
{
	cleanup_free char *path = text_printf("%s/" SNAPSHOT_MANIFEST, dir);
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = NULL;
	cleanup_free char *text = NULL;
	size_t length;
	int r = file_read(&text, &length, path, SNAPSHOT_MANIFEST_MAX);

	/* It was there when it was finished. */
	if (r == -ENOENT || r == -EFBIG || r == -EISDIR)
		return snapshot_refuse(err, key, CAUSE_CORRUPT, "read %s: %s", path,
				       strerrordesc_np(-r));
	if (r < 0)
		return snapshot_errno(err, key, -r, "read %s", path);
	if (snapshot_manifest_from_text(&manifest, text, length, err) < 0)
		return snapshot_error(err, key);
	if (strcmp(manifest->vm_id, key->vm_id) != 0 ||
	    strcmp(manifest->snapshot_id, key->snapshot_id) != 0)
		return snapshot_refuse(err, key, CAUSE_CORRUPT,
				       "%s is that of snapshot '%s' of vm '%s'", path,
				       manifest->snapshot_id, manifest->vm_id);
	*ret = take_ptr(manifest);
	return 0;
}

uint64_t snapshot_allocated(const char *dir)
{
	cleanup_closedir DIR *stream = opendir(dir);
	const struct dirent *file;
	uint64_t bytes = 0;

	while (stream && (file = readdir(stream))) {
		struct stat st;

		if (fstatat(dirfd(stream), file->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode))
			bytes += disk_allocated(&st);
	}
	return bytes;
}

/* One that lies on the disk. */
static void load(Snapshots *snapshots, const SnapshotKey *key)
{
	cleanup_free char *dir = snapshot_path(snapshots, key, NULL);
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = NULL;
	SnapshotEntry *entry = snapshot_entry_new(key);

	entry->on_disk = true;
	entry->state = SNAPSHOT_READY;
	entry->allocated = snapshot_allocated(dir);
	if (snapshot_read_manifest(dir, key, &manifest, &entry->problem) < 0)
		entry->state = SNAPSHOT_FAILED;
	else
		snapshot_take_in(entry, manifest);
	disk_room_add(snapshots->room, entry->allocated);
	lock_take(&snapshots->lock);
	snapshot_add(snapshots, entry);
	lock_drop(&snapshots->lock);
}

static bool is_dir(int at, const char *name)
{
	struct stat st;

	return fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* All of one VM. */
static int load_vm(Snapshots *snapshots, const char *vm_id, Error *err)
{
	cleanup_free char *path = text_printf("%s/%s", snapshots->dir, vm_id);
	cleanup_closedir DIR *dir = NULL;
	const struct dirent *file;

	if (!is_dir(snapshots->fd, vm_id))
		return 0;
	/* An agent may have died between its last snapshot and this. */
	if (rmdir(path) == 0)
		return 0;
	dir = opendir(path);
	if (!dir)
		return disk_error(err, errno, "read %s", path);
	while ((file = readdir(dir))) {
		Error none = { 0 };
		SnapshotKey key;

		if (text_is_id(file->d_name) && is_dir(dirfd(dir), file->d_name) &&
		    snapshot_key(&key, vm_id, file->d_name, &none) == 0)
			load(snapshots, &key);
	}
	return 0;
}

/* Removes what was never finished, and takes in what is there. */
static int look_around(Snapshots *snapshots, Error *err)
{
	cleanup_closedir DIR *dir = opendir(snapshots->dir);
	const struct dirent *file;

	if (!dir)
		return disk_error(err, errno, "read %s", snapshots->dir);
	while ((file = readdir(dir))) {
		cleanup_free char *path = text_printf("%s/%s", snapshots->dir, file->d_name);
		int r = aside_is(file->d_name, asides) ? file_remove_tree(path) : 0;

		if (r < 0)
			return disk_error(err, -r, "remove %s", path);
		if (text_is_id(file->d_name) && load_vm(snapshots, file->d_name, err) < 0)
			return -1;
	}
	return 0;
}

static int open_in(Snapshots *snapshots, Error *err)
{
	int r = file_make_dirs(snapshots->dir);

	if (r == 0)
		snapshots->fd = open(snapshots->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r < 0 || snapshots->fd < 0)
		return disk_error(err, r < 0 ? -r : errno, "open %s", snapshots->dir);
	return look_around(snapshots, err);
}

int snapshots_open(Snapshots **ret, const SnapshotsConfig *config, Error *err)
{
	cleanup_(snapshots_closep) Snapshots *snapshots = new0(Snapshots);
	cleanup_free char *hashes = text_printf("%s/.hashes", config->dir);

	snapshots->fd = -1;
	snapshots->dir = text_dup(config->dir);
	lock_init(&snapshots->lock);
	cond_init(&snapshots->settled);
	snapshots->room = disk_room_new(config->dir, config->max_bytes, config->spare_bytes);
	snapshots->hashes = hash_cache_open(hashes);
	if (open_in(snapshots, err) < 0) {
		err->kind = ERROR_SNAPSHOT_FAILED;
		return -1;
	}
	*ret = take_ptr(snapshots);
	return 0;
}

void snapshots_close(Snapshots *snapshots)
{
	SnapshotEntry *entry;

	if (!snapshots)
		return;
	lock_take(&snapshots->lock);
	while ((entry = snapshots->entries)) {
		snapshot_drop(snapshots, entry);
		snapshot_entry_free(entry);
	}
	lock_drop(&snapshots->lock);
	if (snapshots->fd >= 0)
		(void)close(snapshots->fd);
	hash_cache_close(snapshots->hashes);
	disk_room_free(snapshots->room);
	cond_destroy(&snapshots->settled);
	free(snapshots->dir);
	free(snapshots);
}
