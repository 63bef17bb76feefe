/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/snapshots/snapshots_internal.h"

#include <string.h>

/* The manifest now, a reference; NULL if there is none. */
static SnapshotManifest *manifest_of(Snapshots *snapshots, const SnapshotEntry *entry)
{
	SnapshotManifest *manifest;

	lock_take(&snapshots->lock);
	manifest = snapshot_manifest_ref(entry->manifest);
	lock_drop(&snapshots->lock);
	return manifest;
}

static int check_host(Snapshots *snapshots, const SnapshotEntry *entry, const SnapshotHost *host,
		      Error *err)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest =
		manifest_of(snapshots, entry);

	return manifest && host ? snapshot_check_host(manifest, host, err) : 0;
}

/* Holds one more, whole, which is the last one's parent. */
static int add(SnapshotUse *use, const SnapshotKey *key, const DiskProgress *progress, Error *err)
{
	SnapshotEntry *entry;

	if (snapshot_hold(use->snapshots, key, &entry, err) < 0)
		return -1;
	use->entries[use->count++] = entry;
	if (snapshot_verify_entry(use->snapshots, entry, false, progress, err) < 0)
		return -1;
	use->manifests[use->count - 1] = manifest_of(use->snapshots, entry);
	return 0;
}

/* The parent of the last one, @child. */
static int add_parent(SnapshotUse *use, const SnapshotManifest *child, const DiskProgress *progress,
		      Error *err)
{
	const SnapshotKey *of = &use->entries[use->count - 1]->key;
	Error none = { 0 };
	SnapshotKey key;

	if (use->count == SNAPSHOT_CHAIN_MAX)
		return snapshot_refuse(err, of, CAUSE_CORRUPT,
				       "it is laid over more than %d others",
				       SNAPSHOT_CHAIN_MAX - 1);
	if (snapshot_key(&key, child->vm_id, child->parent, err) < 0)
		return -1;
	if (add(use, &key, progress, &none) < 0 && none.kind != ERROR_SNAPSHOT_NOT_FOUND) {
		*err = none;
		return -1;
	}
	if (error_is_set(&none) ||
	    !text_equal(use->manifests[use->count - 1]->uid, child->parent_uid))
		return snapshot_refuse(err, of, CAUSE_CORRUPT,
				       "its parent '%s' is gone, or another one than it was",
				       child->parent);
	return 0;
}

/* What the first one is laid over, until there is nothing. */
static int add_parents(SnapshotUse *use, const DiskProgress *progress, Error *err)
{
	const SnapshotManifest *child = use->manifests[0];

	while (child->kind == SNAPSHOT_DIFF) {
		if (add_parent(use, child, progress, err) < 0)
			return -1;
		child = use->manifests[use->count - 1];
	}
	return 0;
}

/* Before anything is read. */
static int begin(SnapshotUse *use, const SnapshotKey *key, const SnapshotHost *host, Error *err)
{
	SnapshotEntry *entry;
	int r;

	if (snapshot_hold(use->snapshots, key, &entry, err) < 0)
		return -1;
	r = check_host(use->snapshots, entry, host, err);
	snapshot_release(use->snapshots, entry);
	return r;
}

int snapshots_use(Snapshots *snapshots, const SnapshotAsk *ask, SnapshotUse **ret, Error *err)
{
	cleanup_(snapshot_use_endp) SnapshotUse *use = new0(SnapshotUse);
	SnapshotKey key;

	use->snapshots = snapshots;
	if (snapshot_key(&key, ask->vm_id, ask->snapshot_id, err) < 0 ||
	    begin(use, &key, ask->host, err) < 0 || add(use, &key, ask->progress, err) < 0)
		return -1;
	/* It may be known from its reading alone. */
	if (check_host(snapshots, use->entries[0], ask->host, err) < 0 ||
	    add_parents(use, ask->progress, err) < 0)
		return -1;
	use->dir = snapshot_path(snapshots, &key, NULL);
	*ret = take_ptr(use);
	return 0;
}

void snapshot_use_end(SnapshotUse *use)
{
	if (!use)
		return;
	for (size_t i = 0; i < use->count; i++) {
		snapshot_manifest_unref(use->manifests[i]);
		snapshot_release(use->snapshots, use->entries[i]);
	}
	free(use->dir);
	free(use);
}

const char *snapshot_use_dir(const SnapshotUse *use)
{
	return use->dir;
}

const SnapshotManifest *snapshot_use_manifest(const SnapshotUse *use)
{
	return use->manifests[0];
}

int snapshot_use_clone_disk(const SnapshotUse *use, const SnapshotClone *clone, DiskCloneWay *ret,
			    Error *err)
{
	const SnapshotKey *key = &use->entries[0]->key;
	const SnapshotDrive *drive = snapshot_manifest_drive(use->manifests[0], clone->drive_id);
	DiskCloneOptions options = {
		.mode = 0600,
		.durable = clone->durable,
		.progress = clone->progress,
	};
	cleanup_free char *path = NULL;
	cleanup_close int disk = -1;

	if (!drive)
		return snapshot_refuse(err, key, CAUSE_MISSING, "it has no drive '%s'",
				       clone->drive_id);
	(void)disk_room_read(use->snapshots->room, NULL, &options.spare);
	path = snapshot_path(use->snapshots, key, drive->file);
	if (disk_open(&disk, use->snapshots->fd, snapshot_relative(use->snapshots, path), err) <
		    0 ||
	    disk_clone(ret, clone->to, disk, &options, err) < 0)
		return snapshot_error(err, key);
	return 0;
}
