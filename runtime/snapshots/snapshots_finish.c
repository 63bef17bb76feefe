/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/snapshots/snapshot_runs.h"
#include "runtime/snapshots/snapshots_draft.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* How a draft becomes a snapshot. */

enum {
	NAMING_TRIES = 16,
};

typedef struct Finish {
	SnapshotDraft *draft;
	SnapshotManifest *manifest;
	const DiskProgress *progress; /* the caller's */
	uint64_t before, total;       /* bytes: of the files that were hashed, of all */
} Finish;

static const SnapshotKey *key_of(const Finish *finish)
{
	return &finish->draft->entry->key;
}

static bool step(void *user, uint64_t done, uint64_t total)
{
	const Finish *finish = user;

	(void)total;
	snapshot_draft_progress(finish->draft, finish->before + done, finish->total);
	return disk_progress(finish->progress, finish->before + done, finish->total) == 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const SnapshotFile *)a)->name, ((const SnapshotFile *)b)->name);
}

static int add_file(Finish *finish, int dir, const char *name, Error *err)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return snapshot_errno(err, key_of(finish), errno, "look at %s/%s",
				      finish->draft->dir, name);
	if (!S_ISREG(st.st_mode) || !snapshot_is_file_name(name) ||
	    snapshot_file_count(finish->manifest) >= SNAPSHOT_FILES_MAX)
		return snapshot_refuse(err, key_of(finish), CAUSE_INPUT,
				       "%s/%s is no file of a snapshot, or one too many",
				       finish->draft->dir, name);
	(void)snapshot_manifest_add_file(finish->manifest, name, (uint64_t)st.st_size);
	finish->total += (uint64_t)st.st_size;
	return 0;
}

/* The manifest's list of files: what is in the draft's directory. */
static int add_files(Finish *finish, Error *err)
{
	cleanup_closedir DIR *dir = opendir(finish->draft->dir);
	const struct dirent *file;

	if (!dir)
		return snapshot_errno(err, key_of(finish), errno, "read %s", finish->draft->dir);
	while ((file = readdir(dir)))
		if (strcmp(file->d_name, ".") != 0 && strcmp(file->d_name, "..") != 0 &&
		    add_file(finish, dirfd(dir), file->d_name, err) < 0)
			return -1;
	if (finish->manifest->files.count)
		qsort(finish->manifest->files.items, finish->manifest->files.count,
		      sizeof(SnapshotFile), compare);
	return 0;
}

int snapshot_seal(const SnapshotSeal *seal, SnapshotFile *file, Error *err)
{
	char digest[DISK_DIGEST_SIZE];
	DiskIdentity identity;

	if (fchmod(seal->fd, 0444) < 0 || fsync(seal->fd) < 0)
		return snapshot_errno(err, seal->key, errno, "sync %s", seal->path);
	if (disk_identity_get(&identity, seal->fd) == 0)
		(void)!disk_identity_settle(&identity);
	if (hash_cache_read(seal->hashes, seal->fd, seal->path, seal->progress, digest, err) < 0)
		return snapshot_error(err, seal->key);
	snapshot_set(&file->sha256, digest);
	return 0;
}

static int seal_file(Finish *finish, SnapshotFile *file, Error *err)
{
	const Snapshots *snapshots = finish->draft->snapshots;
	cleanup_free char *path = text_printf("%s/%s", finish->draft->dir, file->name);
	DiskProgress progress = { .step = step, .user = finish };
	SnapshotSeal seal = {
		.hashes = snapshots->hashes,
		.key = key_of(finish),
		.path = path,
		.progress = &progress,
	};
	cleanup_close int fd = -1;

	if (disk_open(&fd, snapshots->fd, snapshot_relative(snapshots, path), err) < 0)
		return snapshot_error(err, key_of(finish));
	seal.fd = fd;
	if (snapshot_seal(&seal, file, err) < 0)
		return -1;
	finish->before += file->size;
	return 0;
}

/* Where the memory of a diff has data; it is on the disk by now. */
static int seal_runs(const Finish *finish, Error *err)
{
	const Snapshots *snapshots = finish->draft->snapshots;
	cleanup_free char *path = text_printf("%s/" SNAPSHOT_MEMORY_FILE, finish->draft->dir);
	cleanup_(snapshot_runs_clear) SnapshotRuns runs = { 0 };
	char digest[DISK_DIGEST_SIZE];
	cleanup_close int fd = -1;

	if (disk_open(&fd, snapshots->fd, snapshot_relative(snapshots, path), err) < 0 ||
	    snapshot_runs_read(&runs, fd, path, err) < 0)
		return snapshot_error(err, key_of(finish));
	snapshot_runs_digest(&runs, digest);
	snapshot_set(&finish->manifest->memory_runs, digest);
	return 0;
}

static int seal_files(Finish *finish, Error *err)
{
	for (size_t i = 0; i < snapshot_file_count(finish->manifest); i++)
		if (seal_file(finish, snapshot_file_at(finish->manifest, i), err) < 0)
			return -1;
	return finish->draft->entry->parent[0] ? seal_runs(finish, err) : 0;
}

/* What is the catalog's in the manifest. */
static void fill_in(const Finish *finish)
{
	const SnapshotEntry *entry = finish->draft->entry;
	SnapshotManifest *manifest = finish->manifest;
	char uid[37];

	text_random_uuid(uid);
	manifest->format = SNAPSHOT_FORMAT;
	manifest->minor = SNAPSHOT_MINOR;
	manifest->created = (uint64_t)entry->created;
	manifest->kind = entry->parent[0] ? SNAPSHOT_DIFF : SNAPSHOT_FULL;
	snapshot_set(&manifest->snapshot_id, entry->key.snapshot_id);
	snapshot_set(&manifest->vm_id, entry->key.vm_id);
	snapshot_set(&manifest->tenant, entry->tenant);
	snapshot_set(&manifest->uid, uid);
	snapshot_set(&manifest->request, entry->request);
	snapshot_set(&manifest->parent, entry->parent);
	snapshot_set(&manifest->parent_uid, finish->draft->parent_uid);
	for (size_t i = 0; i < manifest->drives.count; i++) {
		SnapshotDrive *drive = snapshot_drive_at(manifest, i);
		cleanup_free char *name = text_printf(SNAPSHOT_DISK_PREFIX "%s", drive->drive_id);
		const SnapshotFile *file = snapshot_manifest_file(manifest, name);

		snapshot_set(&drive->file, name);
		drive->size = file ? file->size : 0;
	}
}

static int write_manifest(const Finish *finish, Error *err)
{
	cleanup_free char *path = text_printf("%s/" SNAPSHOT_MANIFEST, finish->draft->dir);
	cleanup_free char *text = NULL;
	int r;

	if (snapshot_manifest_to_text(finish->manifest, &text, err) < 0)
		return snapshot_error(err, key_of(finish));
	r = file_write_atomic(path, text, strlen(text));
	return r < 0 ? snapshot_errno(err, key_of(finish), -r, "write %s", path) : 0;
}

/* The directory of its VM; the last snapshot of that may be deleted at the same time, and the
 * directory with it. Return: 0 or -errno. */
static int rename_into(const Snapshots *snapshots, const char *from, const char *vm, const char *to)
{
	for (int i = 0; i < NAMING_TRIES; i++) {
		if (mkdir(vm, 0700) == 0 && fsync(snapshots->fd) < 0)
			return -errno;
		if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != ENOENT)
			return -errno;
	}
	return -ENOENT;
}

static int publish(const Finish *finish, Error *err)
{
	const Snapshots *snapshots = finish->draft->snapshots;
	const SnapshotKey *key = key_of(finish);
	cleanup_free char *vm = text_printf("%s/%s", snapshots->dir, key->vm_id);
	cleanup_free char *path = snapshot_path(snapshots, key, NULL);
	int r = rename_into(snapshots, finish->draft->dir, vm, path);

	if (r < 0)
		return snapshot_errno(err, key, -r, "name %s", path);
	r = snapshot_sync_dir(vm);
	if (r < 0) {
		(void)rename(path, finish->draft->dir);
		return snapshot_errno(err, key, -r, "sync %s", vm);
	}
	return 0;
}

static void settle(Finish *finish, uint64_t allocated)
{
	SnapshotDraft *draft = finish->draft;
	Snapshots *snapshots = draft->snapshots;
	SnapshotEntry *entry = draft->entry;

	lock_take(&snapshots->lock);
	snapshot_take_in(entry, finish->manifest);
	entry->state = SNAPSHOT_READY;
	entry->on_disk = true;
	entry->allocated = allocated;
	entry->done = entry->total;
	snapshot_changed(snapshots, entry);
	lock_drop(&snapshots->lock);
	disk_room_settle(snapshots->room, draft->taken, allocated);
	draft->is_over = true;
}

int snapshot_draft_finish(SnapshotDraft *draft, SnapshotManifest *manifest,
			  const DiskProgress *progress, Error *err)
{
	Finish finish = { .draft = draft, .manifest = manifest, .progress = progress };
	uint64_t allocated;

	if (add_files(&finish, err) < 0 || seal_files(&finish, err) < 0)
		return -1;
	fill_in(&finish);
	if (write_manifest(&finish, err) < 0)
		return -1;
	allocated = snapshot_allocated(draft->dir);
	if (publish(&finish, err) < 0)
		return -1;
	settle(&finish, allocated);
	return 0;
}
