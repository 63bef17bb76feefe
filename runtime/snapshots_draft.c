/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "runtime/snapshots_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* A snapshot in the making. */

struct SnapshotDraft {
	Snapshots *snapshots;
	char vm_id[ERROR_ID_MAX], snapshot_id[ERROR_ID_MAX];
	char *dir;      /* aside */
	uint64_t taken; /* of the room */
};

static SnapshotKey key_of(const SnapshotDraft *draft)
{
	return (SnapshotKey){ draft->vm_id, draft->snapshot_id };
}

/* Its name, from now on: 0; 1: it is there by the same request; -1. */
static int reserve(Snapshots *snapshots, const SnapshotKey *key, const char *request, Error *err)
{
	SnapshotEntry *entry;
	bool there, same = false;

	lock_take(&snapshots->lock);
	entry = snapshots_find(snapshots, key);
	there = entry;
	if (entry)
		same = text_equal(entry->info.manifest->request, request);
	else
		entry = snapshots_enter(snapshots, key);
	if (!there) {
		entry->info.state = SNAPSHOT_CREATING;
		entry->info.manifest->request = text_dup(request);
		entry->info.manifest->create_time = clock_wall_us();
	}
	lock_drop(&snapshots->lock);
	if (there && !same)
		return error_set_snapshot(err, ERROR_SNAPSHOT_ALREADY_EXISTS, key->vm_id,
					  key->snapshot_id);
	return there;
}

static void give_name_back(Snapshots *snapshots, const SnapshotKey *key)
{
	SnapshotEntry *entry;

	lock_take(&snapshots->lock);
	entry = snapshots_find(snapshots, key);
	snapshots_drop(snapshots, entry);
	lock_drop(&snapshots->lock);
	snapshots_entry_free(entry);
}

static int make_dir(SnapshotDraft *draft, uint64_t bytes, Error *err)
{
	const SnapshotKey key = key_of(draft);
	cleanup_free char *what =
		text_printf("snapshot '%s' of vm '%s'", key.snapshot_id, key.vm_id);

	if (disk_room_take(draft->snapshots->room, bytes, what, err) < 0) {
		snapshots_blame(err, &key);
		return -1;
	}
	draft->taken = bytes;
	if (mkdir(draft->dir, 0700) < 0)
		return error_set_errno(err, ERROR_SNAPSHOT_FAILED, errno, "make %s", draft->dir);
	return 0;
}

int snapshots_begin(Snapshots *snapshots, const SnapshotKey *key, const char *request,
		    uint64_t bytes, SnapshotDraft **ret, Error *err)
{
	SnapshotDraft *draft;
	int r = reserve(snapshots, key, request, err);

	*ret = NULL;
	if (r)
		return r < 0 ? -1 : 0;
	draft = new0(SnapshotDraft);
	draft->snapshots = snapshots;
	text_copy(draft->vm_id, sizeof draft->vm_id, key->vm_id);
	text_copy(draft->snapshot_id, sizeof draft->snapshot_id, key->snapshot_id);
	draft->dir = snapshots_path_aside(snapshots);
	if (make_dir(draft, bytes, err) < 0) {
		snapshot_draft_drop(draft);
		return -1;
	}
	*ret = draft;
	return 0;
}

const char *snapshot_draft_dir(const SnapshotDraft *draft)
{
	return draft->dir;
}

int snapshot_draft_add_disk(SnapshotDraft *draft, const char *file, const char *path,
			    const DiskProgress *progress, Error *err)
{
	const SnapshotKey key = key_of(draft);
	cleanup_free char *to = text_printf("%s/%s", draft->dir, file);
	DiskCloneOptions options = { .mode = 0400, .progress = progress };
	cleanup_close int fd = -1;
	DiskCloneWay way;

	(void)disk_room_read(draft->snapshots->room, NULL, &options.spare);
	if (disk_open(&fd, AT_FDCWD, path, err) == 0 &&
	    disk_clone(&way, to, fd, &options, err) == 0)
		return 0;
	snapshots_blame(err, &key);
	return -1;
}

/* From now on nobody changes it, and what it is, is known. */
static int seal_file(SnapshotDraft *draft, const char *name, SnapshotFile *file,
		     const DiskProgress *progress, Error *err)
{
	cleanup_free char *path = text_printf("%s/%s", draft->dir, name);
	cleanup_close int fd = -1;
	char digest[DISK_DIGEST_SIZE];
	DiskIdentity identity;

	if (disk_open(&fd, AT_FDCWD, path, err) < 0)
		return -1;
	if (fchmod(fd, 0400) < 0 || fsync(fd) < 0 || disk_identity_get(&identity, fd) < 0)
		return disk_error(err, errno, "sync %s", path);
	/* So that its digest is worth remembering. */
	(void)!disk_identity_settle(&identity);
	if (hash_cache_read(draft->snapshots->hashes, fd, path, progress, digest, err) < 0)
		return -1;
	file->name = text_dup(name);
	file->size = identity.size;
	file->sha256 = text_dup(digest);
	return 0;
}

static int seal_files(SnapshotDraft *draft, SnapshotManifest *manifest,
		      const DiskProgress *progress, Error *err)
{
	cleanup_closedir DIR *dir = opendir(draft->dir);
	const struct dirent *file;

	if (!dir)
		return disk_error(err, errno, "read %s", draft->dir);
	while ((file = readdir(dir))) {
		SnapshotFile *noted;

		if (file->d_name[0] == '.')
			continue;
		noted = field_list_add(&manifest->files, &snapshot_file_table);
		if (seal_file(draft, file->d_name, noted, progress, err) < 0)
			return -1;
	}
	return 0;
}

static int write_manifest(const SnapshotDraft *draft, const SnapshotManifest *manifest, Error *err)
{
	cleanup_free char *text = snapshot_manifest_to_text(manifest);
	cleanup_free char *path = text_printf("%s/%s", draft->dir, SNAPSHOT_MANIFEST);
	int r = file_write_atomic(path, text, strlen(text));

	return r < 0 ? disk_error(err, -r, "write %s", path) : 0;
}

/* Gives it its name; durable when that is there. */
static int publish(const SnapshotDraft *draft, Error *err)
{
	const SnapshotKey key = key_of(draft);
	cleanup_free char *path = snapshots_path(draft->snapshots, &key, NULL);
	cleanup_free char *parent = text_printf("%s/%s", draft->snapshots->dir, key.vm_id);
	int r;

	if (mkdir(parent, 0700) < 0 && errno != EEXIST)
		return disk_error(err, errno, "make %s", parent);
	r = file_sync(parent);
	if (r == 0 && rename(draft->dir, path) < 0)
		r = -errno;
	if (r == 0)
		r = file_sync(path);
	if (r == 0)
		return 0;
	(void)rename(path, draft->dir);
	return disk_error(err, -r, "make %s", path);
}

/* It is there. */
static void come(SnapshotDraft *draft, SnapshotManifest *manifest)
{
	Snapshots *snapshots = draft->snapshots;
	const SnapshotKey key = key_of(draft);
	cleanup_free char *dir = snapshots_path(snapshots, &key, NULL);
	uint64_t allocated = snapshots_allocated(dir, manifest);

	disk_room_settle(snapshots->room, draft->taken, allocated);
	lock_take(&snapshots->lock);
	snapshots_set_ready(snapshots_find(snapshots, &key), manifest, allocated);
	lock_drop(&snapshots->lock);
	free(draft->dir);
	free(draft);
}

int snapshot_draft_finish(SnapshotDraft *draft, SnapshotManifest *manifest,
			  const DiskProgress *progress, Error *err)
{
	cleanup_(snapshot_manifest_freep) SnapshotManifest *ours = manifest;
	const SnapshotKey key = key_of(draft);

	if (seal_files(draft, manifest, progress, err) == 0 &&
	    write_manifest(draft, manifest, err) == 0 && publish(draft, err) == 0) {
		come(draft, take_ptr(ours));
		return 0;
	}
	snapshots_blame(err, &key);
	snapshot_draft_drop(draft);
	return -1;
}

void snapshot_draft_drop(SnapshotDraft *draft)
{
	if (!draft)
		return;
	(void)!file_remove_tree(draft->dir);
	disk_room_settle(draft->snapshots->room, draft->taken, 0);
	give_name_back(draft->snapshots, &(SnapshotKey){ draft->vm_id, draft->snapshot_id });
	free(draft->dir);
	free(draft);
}
