/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the parts of the catalog of snapshots share; for runtime/snapshots*.c alone. */

#include "base/lock.h"
#include "runtime/images/disk_room.h"
#include "runtime/images/hash_cache.h"
#include "runtime/snapshots.h"

#include <uthash.h>

#define SNAPSHOT_MANIFEST "manifest.json"

enum {
	SNAPSHOT_NAME_MAX = 2 * ERROR_ID_MAX
};

typedef struct SnapshotEntry {
	UT_hash_handle hh;
	char name[SNAPSHOT_NAME_MAX]; /* "<vm_id>/<snapshot_id>" */
	SnapshotInfo info;            /* under lock */
} SnapshotEntry;

struct Snapshots {
	char *dir;
	DiskRoom *room;
	HashCache *hashes;
	Lock lock;
	SnapshotEntry *entries; /* under lock */
};

/* A name for what is being made or removed, such as only we give; to free. */
char *snapshots_path_aside(const Snapshots *snapshots);
void snapshots_set_missing(Error *err, const SnapshotKey *key);
/* What went wrong with a file of its went wrong with it. */
void snapshots_blame(Error *err, const SnapshotKey *key);

SnapshotEntry *snapshots_find(Snapshots *snapshots, const SnapshotKey *key)
	lock_requires(snapshots->lock);
/* A new one, with its ids. */
SnapshotEntry *snapshots_enter(Snapshots *snapshots, const SnapshotKey *key)
	lock_requires(snapshots->lock);
void snapshots_drop(Snapshots *snapshots, SnapshotEntry *entry) lock_requires(snapshots->lock);
void snapshots_entry_free(SnapshotEntry *entry);
/* Takes @manifest over. Under lock, unless nobody else knows it. */
void snapshots_set_ready(SnapshotEntry *entry, SnapshotManifest *manifest, uint64_t allocated);

/* What the files of @manifest in @dir have of the disk. */
uint64_t snapshots_allocated(const char *dir, const SnapshotManifest *manifest);
