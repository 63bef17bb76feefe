/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/snapshots/snapshots_internal.h"

#include <string.h>

/* What there is in the catalog, and who depends on it. Nothing here waits for a disk. */

void snapshot_info_clear(SnapshotInfo *info)
{
	snapshot_manifest_unref(info->manifest);
	*info = (SnapshotInfo){ 0 };
}

void snapshot_infos_free(SnapshotInfo *infos, size_t count)
{
	for (size_t i = 0; i < count; i++)
		snapshot_info_clear(&infos[i]);
	free(infos);
}

/* All but what others say of it. */
static void describe(const SnapshotEntry *entry, SnapshotInfo *ret)
{
	*ret = (SnapshotInfo){
		.state = entry->state,
		.created = entry->created,
		.done = entry->done,
		.total = entry->total,
		.allocated = entry->allocated,
		.users = entry->users,
		.version = entry->version,
		.manifest = snapshot_manifest_ref(entry->manifest),
		.problem = entry->problem,
	};
	text_copy(ret->vm_id, sizeof ret->vm_id, entry->key.vm_id);
	text_copy(ret->snapshot_id, sizeof ret->snapshot_id, entry->key.snapshot_id);
	text_copy(ret->tenant, sizeof ret->tenant, entry->tenant);
	text_copy(ret->parent, sizeof ret->parent, entry->parent);
}

int snapshots_get(Snapshots *snapshots, const char *vm_id, const char *snapshot_id,
		  SnapshotInfo *ret, Error *err)
{
	const SnapshotEntry *entry;
	SnapshotKey key;
	bool found;

	if (snapshot_key(&key, vm_id, snapshot_id, err) < 0)
		return -1;
	lock_take(&snapshots->lock);
	entry = snapshot_find(snapshots, &key);
	found = entry && !entry->absent;
	if (found) {
		describe(entry, ret);
		ret->children = snapshot_children(snapshots, entry);
		ret->depth = snapshot_depth(snapshots, entry);
	}
	lock_drop(&snapshots->lock);
	return found ? 0
		     : error_set_snapshot(err, ERROR_SNAPSHOT_NOT_FOUND, key.vm_id,
					  key.snapshot_id);
}

static int compare(const void *a, const void *b)
{
	const SnapshotInfo *one = a, *other = b;
	int r = strcmp(one->vm_id, other->vm_id);

	return r ? r : strcmp(one->snapshot_id, other->snapshot_id);
}

/* The one that @info is laid over, of a sorted list of all of its VM. */
static SnapshotInfo *find_parent(SnapshotInfo *infos, size_t count, const SnapshotInfo *info)
{
	SnapshotInfo key;

	if (!info->parent[0])
		return NULL;
	text_copy(key.vm_id, sizeof key.vm_id, info->vm_id);
	text_copy(key.snapshot_id, sizeof key.snapshot_id, info->parent);
	return bsearch(&key, infos, count, sizeof *infos, compare);
}

/* What they say of one another; not under lock, for it takes longer the more there are. */
static void relate(SnapshotInfo *infos, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const SnapshotInfo *above = &infos[i];
		SnapshotInfo *parent = find_parent(infos, count, above);

		/* As snapshot_children() has it. */
		if (parent && (above->state != SNAPSHOT_FAILED || above->manifest))
			parent->children++;
		infos[i].depth = 1;
		while (parent && infos[i].depth <= SNAPSHOT_CHAIN_MAX) {
			infos[i].depth++;
			parent = find_parent(infos, count, parent);
		}
	}
}

/* Leaves those of @tenant. Return: how many. */
static size_t choose(SnapshotInfo *infos, size_t count, const char *tenant)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		if (strcmp(infos[i].tenant, tenant) == 0)
			infos[n++] = infos[i];
		else
			snapshot_info_clear(&infos[i]);
	return n;
}

void snapshots_list(Snapshots *snapshots, const char *vm_id, const char *tenant, SnapshotInfo **ret,
		    size_t *count)
{
	SnapshotInfo *infos;
	size_t n = 0;

	lock_take(&snapshots->lock);
	infos = new0_array(SnapshotInfo, HASH_COUNT(snapshots->entries));
	for (const SnapshotEntry *entry = snapshots->entries; entry; entry = entry->hh.next)
		if (!entry->absent && (!vm_id || strcmp(entry->key.vm_id, vm_id) == 0))
			describe(entry, &infos[n++]);
	lock_drop(&snapshots->lock);
	if (n)
		qsort(infos, n, sizeof *infos, compare);
	relate(infos, n);
	*count = tenant ? choose(infos, n, tenant) : n;
	*ret = infos;
}

int snapshots_pin(Snapshots *snapshots, const char *vm_id, const char *snapshot_id, Error *err)
{
	SnapshotEntry *entry;
	SnapshotKey key;

	if (snapshot_key(&key, vm_id, snapshot_id, err) < 0 ||
	    snapshot_hold(snapshots, &key, &entry, err) < 0)
		return -1;
	lock_take(&snapshots->lock);
	entry->users++;
	entry->holds--;
	snapshot_changed(snapshots, entry);
	lock_drop(&snapshots->lock);
	return 0;
}

void snapshots_unpin(Snapshots *snapshots, const char *vm_id, const char *snapshot_id)
{
	Error none = { 0 };
	SnapshotEntry *entry;
	SnapshotKey key;

	if (snapshot_key(&key, vm_id, snapshot_id, &none) < 0)
		return;
	lock_take(&snapshots->lock);
	entry = snapshot_find(snapshots, &key);
	if (entry && entry->users) {
		entry->users--;
		snapshot_changed(snapshots, entry);
	}
	lock_drop(&snapshots->lock);
}
