/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/snapshots_internal.h"

#include <fcntl.h>
#include <string.h>

enum {
	MANIFEST_BYTES_MAX = 1 << 20,
	ASIDE_BYTES = 8, /* of chance in a name */
};

static const char aside_prefix[] = ".aside-";

char *snapshots_path(const Snapshots *snapshots, const SnapshotKey *key, const char *file)
{
	return text_printf("%s/%s/%s%s%s", snapshots->dir, key->vm_id, key->snapshot_id,
			   file ? "/" : "", file ? file : "");
}

char *snapshot_disk_file(const char *drive_id)
{
	return text_printf("disk-%s", drive_id);
}

char *snapshots_path_aside(const Snapshots *snapshots)
{
	char chance[2 * ASIDE_BYTES + 1];

	text_random_hex(chance, ASIDE_BYTES);
	return text_printf("%s/%s%s", snapshots->dir, aside_prefix, chance);
}

void snapshots_set_missing(Error *err, const SnapshotKey *key)
{
	(void)error_set_snapshot(err, ERROR_SNAPSHOT_NOT_FOUND, key->vm_id, key->snapshot_id);
}

static void name_of(char ret[static SNAPSHOT_NAME_MAX], const SnapshotKey *key)
{
	(void)snprintf(ret, SNAPSHOT_NAME_MAX, "%s/%s", key->vm_id, key->snapshot_id);
}

/* NOLINTBEGIN(readability-function-*): the insides of uthash's macros */
SnapshotEntry *snapshots_find(Snapshots *snapshots, const SnapshotKey *key)
{
	char name[SNAPSHOT_NAME_MAX];
	SnapshotEntry *entry;

	name_of(name, key);
	HASH_FIND_STR(snapshots->entries, name, entry);
	return entry;
}

static void add(Snapshots *snapshots, SnapshotEntry *entry)
{
	HASH_ADD_STR(snapshots->entries, name, entry);
}

void snapshots_drop(Snapshots *snapshots, SnapshotEntry *entry)
{
	HASH_DEL(snapshots->entries, entry);
}
/* NOLINTEND(readability-function-*) */

SnapshotEntry *snapshots_enter(Snapshots *snapshots, const SnapshotKey *key)
{
	SnapshotEntry *entry = new0(SnapshotEntry);

	name_of(entry->name, key);
	entry->info.manifest = snapshot_manifest_new();
	entry->info.manifest->vm_id = text_dup(key->vm_id);
	entry->info.manifest->snapshot_id = text_dup(key->snapshot_id);
	add(snapshots, entry);
	return entry;
}

void snapshot_info_clear(SnapshotInfo *info)
{
	snapshot_manifest_free(take_ptr(info->manifest));
}

void snapshots_entry_free(SnapshotEntry *entry)
{
	snapshot_info_clear(&entry->info);
	free(entry);
}

static SnapshotInfo copy_info(const SnapshotEntry *entry)
{
	SnapshotInfo info = entry->info;

	info.manifest = snapshot_manifest_copy(entry->info.manifest);
	return info;
}

int snapshots_get(Snapshots *snapshots, const SnapshotKey *key, SnapshotInfo *ret, Error *err)
{
	SnapshotEntry *entry;

	lock_take(&snapshots->lock);
	entry = snapshots_find(snapshots, key);
	if (entry)
		*ret = copy_info(entry);
	lock_drop(&snapshots->lock);
	if (entry)
		return 0;
	snapshots_set_missing(err, key);
	return -1;
}

static int compare(const void *a, const void *b)
{
	const SnapshotManifest *first = ((const SnapshotInfo *)a)->manifest;
	const SnapshotManifest *second = ((const SnapshotInfo *)b)->manifest;
	int r = strcmp(first->vm_id, second->vm_id);

	return r ? r : strcmp(first->snapshot_id, second->snapshot_id);
}

SnapshotInfo *snapshots_list(Snapshots *snapshots, const char *vm_id, size_t *count)
{
	SnapshotInfo *infos = NULL;
	size_t n = 0;

	lock_take(&snapshots->lock);
	for (const SnapshotEntry *entry = snapshots->entries; entry; entry = entry->hh.next) {
		if (*vm_id && strcmp(entry->info.manifest->vm_id, vm_id) != 0)
			continue;
		infos = must_realloc(infos, n + 1, sizeof *infos);
		infos[n++] = copy_info(entry);
	}
	lock_drop(&snapshots->lock);
	if (n)
		qsort(infos, n, sizeof *infos, compare);
	*count = n;
	return infos;
}

uint64_t snapshots_allocated(const char *dir, const SnapshotManifest *manifest)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < manifest->files.count; i++) {
		const SnapshotFile *file = (const SnapshotFile *)manifest->files.items + i;
		cleanup_free char *path = text_printf("%s/%s", dir, file->name);

		bytes += disk_allocated(path);
	}
	return bytes;
}

static int read_manifest(SnapshotManifest **ret, const char *dir, const SnapshotKey *key,
			 Error *err)
{
	cleanup_(snapshot_manifest_freep) SnapshotManifest *manifest = NULL;
	cleanup_free char *path = text_printf("%s/%s", dir, SNAPSHOT_MANIFEST);
	cleanup_free char *text = NULL;
	int r = file_read(&text, NULL, path, MANIFEST_BYTES_MAX);

	if (r < 0)
		return error_set_errno(err, ERROR_SNAPSHOT_FAILED, -r, "read %s", path);
	if (snapshot_manifest_from_text(&manifest, text) < 0 ||
	    strcmp(manifest->vm_id, key->vm_id) != 0 ||
	    strcmp(manifest->snapshot_id, key->snapshot_id) != 0)
		return error_set_cause(err, ERROR_SNAPSHOT_FAILED, CAUSE_CORRUPT,
				       "%s is not as it was written", path);
	*ret = take_ptr(manifest);
	return 0;
}

void snapshots_set_ready(SnapshotEntry *entry, SnapshotManifest *manifest, uint64_t allocated)
{
	SnapshotInfo *info = &entry->info;

	snapshot_manifest_free(info->manifest);
	info->manifest = manifest;
	info->state = SNAPSHOT_READY;
	info->allocated = allocated;
	info->size = 0;
	for (size_t i = 0; i < manifest->files.count; i++)
		info->size += ((const SnapshotFile *)manifest->files.items)[i].size;
}

static void load(Snapshots *snapshots, const SnapshotKey *key)
{
	cleanup_free char *dir = snapshots_path(snapshots, key, NULL);
	SnapshotManifest *manifest = NULL;
	SnapshotEntry *entry;
	uint64_t allocated = 0;
	Error problem = { 0 };

	if (read_manifest(&manifest, dir, key, &problem) == 0)
		allocated = snapshots_allocated(dir, manifest);
	lock_take(&snapshots->lock);
	entry = snapshots_enter(snapshots, key);
	if (manifest) {
		snapshots_set_ready(entry, manifest, allocated);
	} else {
		entry->info.state = SNAPSHOT_DAMAGED;
		entry->info.problem = problem;
	}
	lock_drop(&snapshots->lock);
	disk_room_add(snapshots->room, allocated);
}

/* Those of one VM; a directory that has none goes. */
static void load_vm(Snapshots *snapshots, const char *vm_id)
{
	cleanup_free char *path = text_printf("%s/%s", snapshots->dir, vm_id);
	cleanup_closedir DIR *dir = opendir(path);
	const struct dirent *file;

	while (dir && (file = readdir(dir)))
		if (text_is_id(file->d_name))
			load(snapshots, &(SnapshotKey){ vm_id, file->d_name });
	(void)rmdir(path);
}

static int look_around(Snapshots *snapshots, Error *err)
{
	cleanup_closedir DIR *dir = opendir(snapshots->dir);
	const struct dirent *file;

	if (!dir)
		return error_set_errno(err, ERROR_STORE, errno, "read %s", snapshots->dir);
	while ((file = readdir(dir))) {
		cleanup_free char *path = text_printf("%s/%s", snapshots->dir, file->d_name);
		bool is_aside = strncmp(file->d_name, aside_prefix, sizeof aside_prefix - 1) == 0;
		int r = is_aside ? file_remove_tree(path) : 0;

		if (r < 0)
			return error_set_errno(err, ERROR_STORE, -r, "remove %s", path);
		if (text_is_id(file->d_name))
			load_vm(snapshots, file->d_name);
	}
	return 0;
}

int snapshots_open(Snapshots **ret, const SnapshotsConfig *config, Error *err)
{
	cleanup_(snapshots_closep) Snapshots *snapshots = new0(Snapshots);
	cleanup_free char *hashes = text_printf("%s/.hashes", config->dir);
	int r = file_make_dirs(config->dir);

	snapshots->dir = text_dup(config->dir);
	lock_init(&snapshots->lock);
	snapshots->room = disk_room_new(config->dir, 0, config->spare_bytes);
	snapshots->hashes = hash_cache_open(hashes);
	if (r < 0)
		return error_set_errno(err, ERROR_STORE, -r, "make %s", config->dir);
	if (look_around(snapshots, err) < 0)
		return -1;
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
		snapshots_drop(snapshots, entry);
		snapshots_entry_free(entry);
	}
	lock_drop(&snapshots->lock);
	hash_cache_close(snapshots->hashes);
	disk_room_free(snapshots->room);
	free(snapshots->dir);
	free(snapshots);
}

/* Compares one file with what is noted of it. */
static int verify_file(Snapshots *snapshots, const char *path, const SnapshotFile *file,
		       bool read_all, const DiskProgress *progress, Error *err)
{
	char digest[DISK_DIGEST_SIZE] = "";
	cleanup_close int fd = -1;
	DiskIdentity identity;

	if (disk_open(&fd, AT_FDCWD, path, err) < 0 || disk_identity_get(&identity, fd) < 0) {
		if (!error_is_set(err))
			(void)disk_error(err, EIO, "look at %s", path);
		return -1;
	}
	if (read_all) {
		/* From the disk, not from memory. */
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		hash_cache_forget(snapshots->hashes, &identity);
	}
	if (identity.size == file->size && !hash_cache_find(snapshots->hashes, &identity, digest) &&
	    hash_cache_read(snapshots->hashes, fd, path, progress, digest, err) < 0)
		return -1;
	if (!text_equal(digest, file->sha256))
		return error_set_cause(err, ERROR_SNAPSHOT_FAILED, CAUSE_CORRUPT,
				       "%s is not as it was written: it had SHA-256 %s", path,
				       file->sha256);
	return 0;
}

static int verify(Snapshots *snapshots, const SnapshotKey *key, bool read_all,
		  const DiskProgress *progress, Error *err)
{
	cleanup_(snapshot_manifest_freep) SnapshotManifest *manifest = NULL;
	cleanup_free char *dir = snapshots_path(snapshots, key, NULL);

	if (read_manifest(&manifest, dir, key, err) < 0)
		return -1;
	for (size_t i = 0; i < manifest->files.count; i++) {
		const SnapshotFile *file = (const SnapshotFile *)manifest->files.items + i;
		cleanup_free char *path = snapshots_path(snapshots, key, file->name);

		if (verify_file(snapshots, path, file, read_all, progress, err) < 0)
			return -1;
	}
	return 0;
}

/* Noted, until it is found to be sound again. */
static void note(Snapshots *snapshots, const SnapshotKey *key, const Error *problem)
{
	SnapshotEntry *entry;

	lock_take(&snapshots->lock);
	entry = snapshots_find(snapshots, key);
	if (entry && entry->info.state != SNAPSHOT_CREATING && entry->info.manifest->spec) {
		entry->info.state = problem ? SNAPSHOT_DAMAGED : SNAPSHOT_READY;
		entry->info.problem = problem ? *problem : (Error){ 0 };
	}
	lock_drop(&snapshots->lock);
}

int snapshots_verify(Snapshots *snapshots, const SnapshotKey *key, bool read_all,
		     const DiskProgress *progress, Error *err)
{
	int r;

	if (snapshots_pin(snapshots, key, err) < 0)
		return -1;
	r = verify(snapshots, key, read_all, progress, err);
	if (r < 0)
		snapshots_blame(err, key);
	if (r == 0 || err->cause == CAUSE_CORRUPT || err->cause == CAUSE_MISSING)
		note(snapshots, key, r < 0 ? err : NULL);
	snapshots_unpin(snapshots, key);
	return r;
}

void snapshots_blame(Error *err, const SnapshotKey *key)
{
	err->kind = ERROR_SNAPSHOT_FAILED;
	if (err->cause == CAUSE_MISSING) /* of a file: the snapshot itself is there */
		err->cause = CAUSE_CORRUPT;
	text_copy(err->snapshot_id, sizeof err->snapshot_id, key->snapshot_id);
	error_about_vm(err, key->vm_id);
}

int snapshots_pin(Snapshots *snapshots, const SnapshotKey *key, Error *err)
{
	SnapshotEntry *entry;
	bool found;

	lock_take(&snapshots->lock);
	entry = snapshots_find(snapshots, key);
	found = entry && entry->info.state != SNAPSHOT_CREATING;
	if (found)
		entry->info.users++;
	lock_drop(&snapshots->lock);
	if (!found)
		snapshots_set_missing(err, key);
	return found ? 0 : -1;
}

void snapshots_unpin(Snapshots *snapshots, const SnapshotKey *key)
{
	SnapshotEntry *entry;

	lock_take(&snapshots->lock);
	entry = snapshots_find(snapshots, key);
	if (entry && entry->info.users)
		entry->info.users--;
	lock_drop(&snapshots->lock);
}

/* Takes it out of the table. */
static int claim_deletion(Snapshots *snapshots, const SnapshotKey *key, SnapshotEntry **ret,
			  Error *err)
{
	SnapshotEntry *entry;
	size_t users = 0;
	bool busy = false;

	lock_take(&snapshots->lock);
	entry = snapshots_find(snapshots, key);
	if (entry) {
		users = entry->info.users;
		busy = entry->info.state == SNAPSHOT_CREATING;
	}
	if (entry && !users && !busy)
		snapshots_drop(snapshots, entry);
	lock_drop(&snapshots->lock);

	if (!entry)
		snapshots_set_missing(err, key);
	else if (busy)
		(void)error_set(err, ERROR_IN_USE, "snapshot '%s' of vm '%s' is being made",
				key->snapshot_id, key->vm_id);
	else if (users)
		(void)error_set(err, ERROR_IN_USE, "snapshot '%s' of vm '%s' has %zu user%s",
				key->snapshot_id, key->vm_id, users, users == 1 ? "" : "s");
	*ret = entry;
	return error_is_set(err) ? -1 : 0;
}

int snapshots_delete(Snapshots *snapshots, const SnapshotKey *key, Error *err)
{
	cleanup_free char *path = snapshots_path(snapshots, key, NULL);
	cleanup_free char *aside = snapshots_path_aside(snapshots);
	cleanup_free char *parent = text_printf("%s/%s", snapshots->dir, key->vm_id);
	SnapshotEntry *entry;
	int r;

	if (claim_deletion(snapshots, key, &entry, err) < 0)
		return -1;
	/* It has its name no more, durably, before anything of it is lost. */
	r = rename(path, aside) < 0 && errno != ENOENT ? -errno : 0;
	if (r < 0) {
		lock_take(&snapshots->lock);
		add(snapshots, entry);
		lock_drop(&snapshots->lock);
		return error_set_errno(err, ERROR_SNAPSHOT_FAILED, -r, "remove %s", path);
	}
	disk_room_give(snapshots->room, entry->info.allocated);
	snapshots_entry_free(entry);
	r = file_sync(parent);
	if (r == 0)
		r = file_remove_tree(aside);
	(void)rmdir(parent);
	return r < 0 ? error_set_errno(err, ERROR_SNAPSHOT_FAILED, -r, "remove %s", aside) : 0;
}
