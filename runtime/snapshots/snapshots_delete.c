/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/images/aside.h"
#include "runtime/snapshots/snapshots_internal.h"

/* Who stands in the way of a deletion. */
typedef struct Needs {
	bool being_made;
	size_t users, others, children;
} Needs;

static int refuse(const SnapshotKey *key, const Needs *needs, Error *err)
{
	error_about_snapshot(err, key->vm_id, key->snapshot_id);
	if (needs->being_made)
		return error_set(err, ERROR_IN_USE, "snapshot '%s' of vm '%s' is being made",
				 key->snapshot_id, key->vm_id);
	if (needs->users)
		return error_set(err, ERROR_IN_USE, "snapshot '%s' of vm '%s' is used by %zu VM%s",
				 key->snapshot_id, key->vm_id, needs->users,
				 needs->users == 1 ? "" : "s");
	if (needs->children)
		return error_set(err, ERROR_IN_USE,
				 "snapshot '%s' of vm '%s' is needed by %zu diff%s",
				 key->snapshot_id, key->vm_id, needs->children,
				 needs->children == 1 ? "" : "s");
	return error_set(err, ERROR_IN_USE, "snapshot '%s' of vm '%s' is being read",
			 key->snapshot_id, key->vm_id);
}

/* Takes the entry out of what can be found; one that is not on the disk out of the table, to free.
 */
static int claim(Snapshots *snapshots, const SnapshotKey *key, SnapshotEntry **ret, Error *err)
{
	SnapshotEntry *entry;
	Needs needs = { 0 };
	bool is_free = false;

	lock_take(&snapshots->lock);
	entry = snapshot_find(snapshots, key);
	if (entry && entry->absent)
		entry = NULL;
	if (entry) {
		needs.being_made = entry->state == SNAPSHOT_CREATING;
		needs.users = entry->users;
		needs.others = entry->holds;
		needs.children = snapshot_children(snapshots, entry);
		is_free = !needs.being_made && !needs.users && !needs.others && !needs.children;
	}
	if (is_free) {
		entry->absent = true;
		snapshot_changed(snapshots, entry);
		if (!entry->on_disk)
			snapshot_drop(snapshots, entry);
	}
	lock_drop(&snapshots->lock);

	if (!entry)
		return error_set_snapshot(err, ERROR_SNAPSHOT_NOT_FOUND, key->vm_id,
					  key->snapshot_id);
	if (!is_free)
		return refuse(key, &needs, err);
	*ret = entry;
	return 0;
}

/* It has its name no more, durably, before anything of it is lost; what is gone already is so. */
static int move_aside(const Snapshots *snapshots, const SnapshotKey *key, const char *aside,
		      Error *err)
{
	cleanup_free char *path = snapshot_path(snapshots, key, NULL);
	cleanup_free char *vm = text_printf("%s/%s", snapshots->dir, key->vm_id);
	int r;

	if (rename(path, aside) < 0)
		return errno == ENOENT ? 0 : snapshot_errno(err, key, errno, "remove %s", path);
	r = snapshot_sync_dir(vm);
	if (r < 0)
		return snapshot_errno(err, key, -r, "sync %s", vm);
	/* Fails while there are others. */
	(void)rmdir(vm);
	return 0;
}

/* The deletion is over; with @gone nothing is left to be found under its name. */
static void settle(Snapshots *snapshots, SnapshotEntry *entry, bool gone)
{
	lock_take(&snapshots->lock);
	entry->absent = false;
	snapshot_changed(snapshots, entry);
	if (gone)
		snapshot_drop(snapshots, entry);
	lock_drop(&snapshots->lock);
}

int snapshots_delete(Snapshots *snapshots, const char *vm_id, const char *snapshot_id, Error *err)
{
	cleanup_free char *aside = aside_path(snapshots->dir, "deleted");
	SnapshotEntry *entry;
	SnapshotKey key;
	uint64_t allocated;
	int r = 0;

	if (snapshot_key(&key, vm_id, snapshot_id, err) < 0 ||
	    claim(snapshots, &key, &entry, err) < 0)
		return -1;
	allocated = entry->allocated;
	if (entry->on_disk) {
		r = move_aside(snapshots, &key, aside, err);
		settle(snapshots, entry, r == 0);
	}
	if (r < 0)
		return -1;
	snapshot_entry_free(entry);
	/* What is left of it is found again at the next start. */
	r = file_remove_tree(aside);
	disk_room_give(snapshots->room, allocated);
	return r < 0 ? snapshot_errno(err, &key, -r, "remove %s", aside) : 0;
}
