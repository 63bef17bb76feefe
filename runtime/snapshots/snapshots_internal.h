/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the parts of the catalog share; for runtime/snapshots/snapshots*.c alone. */

#include "base/lock.h"
#include "runtime/images/disk_room.h"
#include "runtime/images/hash_cache.h"
#include "runtime/snapshots/snapshots.h"

#include <uthash.h>

/* Without padding: hashed as bytes, and zero behind the ids. */
typedef struct SnapshotKey {
	char vm_id[ERROR_ID_MAX], snapshot_id[ERROR_ID_MAX];
} SnapshotKey;

/* A snapshot, or what is to become one. It is on the disk unless it is being made, or failed
 * without a directory. */
typedef struct SnapshotEntry {
	UT_hash_handle hh;
	SnapshotKey key;
	SnapshotState state;        /* under lock */
	bool on_disk;               /* under lock */
	bool absent;                /* under lock: being deleted */
	bool claimed;               /* under lock: one call at a time reads or replaces it */
	bool closed;                /* under lock: being replaced, and nobody else may hold it */
	size_t users;               /* under lock: pins */
	size_t holds;               /* under lock: calls and uses; it stays while there are any */
	SnapshotManifest *manifest; /* under lock: a reference; NULL if there is none to be read */
	Error problem;              /* under lock, of a FAILED one */
	uint64_t done, total;       /* under lock */
	uint64_t allocated;         /* under lock */
	int64_t created;            /* under lock, as what follows */
	uint64_t version;
	char tenant[SNAPSHOT_FACT_MAX], request[SNAPSHOT_FACT_MAX];
	char parent[ERROR_ID_MAX];
} SnapshotEntry;

struct Snapshots {
	char *dir;
	int fd; /* of dir */
	HashCache *hashes;
	DiskRoom *room;
	Lock lock;
	Cond settled;                 /* with lock: an entry is claimed no more */
	SnapshotEntry *entries;       /* under lock */
	uint64_t version;             /* under lock: the newest of an entry */
	SnapshotsListener *listeners; /* under lock */
};

struct SnapshotUse {
	Snapshots *snapshots;
	char *dir;
	size_t count;                               /* of what is laid over one another */
	SnapshotEntry *entries[SNAPSHOT_CHAIN_MAX]; /* held; the one asked for first */
	SnapshotManifest *manifests[SNAPSHOT_CHAIN_MAX];
};

/* From the image library's ROOTFS to what snapshots.h says, and evaluates to -1. */
int snapshot_error(Error *err, const SnapshotKey *key);
#define snapshot_errno(err, key, errnum, ...) \
	((void)disk_error((err), (errnum), __VA_ARGS__), snapshot_error((err), (key)))
#define snapshot_refuse(err, key, cause, ...)                                       \
	((void)error_set_cause((err), ERROR_SNAPSHOT_FAILED, (cause), __VA_ARGS__), \
	 error_about_snapshot((err), (key)->vm_id, (key)->snapshot_id), -1)

/* Fails with SNAPSHOT_FAILED/INPUT unless both are ids. */
int snapshot_key(SnapshotKey *ret, const char *vm_id, const char *snapshot_id, Error *err)
	must_check;

/* Where it is; to free. @file may be NULL. */
char *snapshot_path(const Snapshots *snapshots, const SnapshotKey *key, const char *file);
/* The path as seen from the catalog's descriptor. */
const char *snapshot_relative(const Snapshots *snapshots, const char *path);

SnapshotEntry *snapshot_find(Snapshots *snapshots, const SnapshotKey *key)
	lock_requires(snapshots->lock);
void snapshot_add(Snapshots *snapshots, SnapshotEntry *entry) lock_requires(snapshots->lock);
void snapshot_drop(Snapshots *snapshots, SnapshotEntry *entry) lock_requires(snapshots->lock);
SnapshotEntry *snapshot_entry_new(const SnapshotKey *key);
void snapshot_entry_free(SnapshotEntry *entry); /* accepts NULL */

/* @entry is another than it was, or there no more. */
void snapshot_changed(Snapshots *snapshots, SnapshotEntry *entry) lock_requires(snapshots->lock);

/* Those that need @entry; failed drafts need nothing. */
size_t snapshot_children(Snapshots *snapshots, const SnapshotEntry *entry)
	lock_requires(snapshots->lock);

/* How many are laid over one another for @entry; more than SNAPSHOT_CHAIN_MAX: too many. */
size_t snapshot_depth(Snapshots *snapshots, const SnapshotEntry *entry)
	lock_requires(snapshots->lock);

/* To release. SNAPSHOT_NOT_FOUND; IN_USE: it is being made; of a draft that failed its problem. */
int snapshot_hold(Snapshots *snapshots, const SnapshotKey *key, SnapshotEntry **ret, Error *err)
	must_check;
void snapshot_release(Snapshots *snapshots, SnapshotEntry *entry);

/* Waits until nobody else has claimed it. */
void snapshot_claim(Snapshots *snapshots, SnapshotEntry *entry);
void snapshot_settle(Snapshots *snapshots, SnapshotEntry *entry);

/* @entry is what @manifest says, and has a reference. Under lock, if it is in the table. */
void snapshot_take_in(SnapshotEntry *entry, SnapshotManifest *manifest);

/* The manifest as it lies in @dir, which is to be that of @key. */
int snapshot_read_manifest(const char *dir, const SnapshotKey *key, SnapshotManifest **ret,
			   Error *err) must_check;

/* What the regular files in @dir have of the disk. */
uint64_t snapshot_allocated(const char *dir);

/* As snapshots_verify(), of an entry that is held. */
int snapshot_verify_entry(Snapshots *snapshots, SnapshotEntry *entry, bool read_all,
			  const DiskProgress *progress, Error *err) must_check;

/* A file that is whole, and of a snapshot that is being made. */
typedef struct SnapshotSeal {
	HashCache *hashes;
	const SnapshotKey *key;
	int fd;
	const char *path;             /* for messages */
	const DiskProgress *progress; /* of its reading */
} SnapshotSeal;

/* Puts it on the disk and hashes it, so that it need not be read again while it stays so; @file
 * gets the digest. */
int snapshot_seal(const SnapshotSeal *seal, SnapshotFile *file, Error *err) must_check;

/* Syncs the directory @path. 0 or -errno. */
int snapshot_sync_dir(const char *path) must_check;
