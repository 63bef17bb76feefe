/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The catalog of snapshots: <dir>/<vm_id>/<snapshot_id>/, each whole by itself: what its VMM wrote,
 * the VM's disks, and a manifest (runtime/snapshot_manifest.h).
 *
 * One is made aside, in a name that begins with a dot, and has its own name when all of it is on
 * the disk; what a dead agent left under such names is removed at the start. Nothing in it is
 * changed from then on. Its digests are compared before it is used; what was read once is read
 * again only if it was changed (runtime/images/hash_cache.h), or if that is asked for.
 *
 * The directory is one agent's. Calls block; safe from any thread.
 */

#include "runtime/images/disk_clone.h"
#include "runtime/snapshot_manifest.h"

typedef struct SnapshotsConfig {
	const char *dir;      /* absolute; made if missing */
	uint64_t spare_bytes; /* of the file system, that are to stay free */
} SnapshotsConfig;

typedef struct SnapshotKey {
	const char *vm_id, *snapshot_id;
} SnapshotKey;

typedef enum SnapshotState { /* the proto's numbers */
	SNAPSHOT_UNSET,
	SNAPSHOT_CREATING,
	SNAPSHOT_READY,
	SNAPSHOT_DAMAGED,
} SnapshotState;

typedef struct SnapshotInfo {
	SnapshotState state;
	SnapshotManifest
		*manifest;        /* of one that is being made, or damaged, little more than ids */
	uint64_t size, allocated; /* bytes of its files, and what they have of the disk */
	size_t users;             /* those who have pinned it */
	Error problem;            /* DAMAGED */
} SnapshotInfo;

void snapshot_info_clear(SnapshotInfo *info);

typedef struct Snapshots Snapshots;

/* Removes what was never finished. STORE. */
int snapshots_open(Snapshots **ret, const SnapshotsConfig *config, Error *err) must_check;
void snapshots_close(Snapshots *snapshots); /* no call is under way; accepts NULL */
DEFINE_CLEANUP(Snapshots *, snapshots_close);

/* One, to be cleared; SNAPSHOT_NOT_FOUND. */
int snapshots_get(Snapshots *snapshots, const SnapshotKey *key, SnapshotInfo *ret, Error *err)
	must_check;
/* All by vm_id and snapshot_id, of one VM unless @vm_id is empty; array and elements the caller's
 * to free. */
SnapshotInfo *snapshots_list(Snapshots *snapshots, const char *vm_id, size_t *count);

/* One in the making. Of one thread at a time. */
typedef struct SnapshotDraft SnapshotDraft;

/**
 * snapshots_begin() - reserve its name, take room for it, make its directory
 * @request:	the digest of the call
 * @bytes:	that its VMM is going to write
 * @ret:	to be finished or dropped; NULL: it is there, or being made, by the same request
 * @err:	SNAPSHOT_ALREADY_EXISTS: by another one; SNAPSHOT_FAILED, with cause EXHAUSTED
 */
int snapshots_begin(Snapshots *snapshots, const SnapshotKey *key, const char *request,
		    uint64_t bytes, SnapshotDraft **ret, Error *err) must_check;

const char *snapshot_draft_dir(const SnapshotDraft *draft);
/* A copy of the disk at @path, as @file. SNAPSHOT_FAILED. */
int snapshot_draft_add_disk(SnapshotDraft *draft, const char *file, const char *path,
			    const DiskProgress *progress, Error *err) must_check;
/**
 * snapshot_draft_finish() - read all files for their digests, and publish it
 * @manifest:	but for the files; taken over
 *
 * The draft is released, also when it fails: nothing is left of it then. SNAPSHOT_FAILED.
 */
int snapshot_draft_finish(SnapshotDraft *draft, SnapshotManifest *manifest,
			  const DiskProgress *progress, Error *err) must_check;
void snapshot_draft_drop(SnapshotDraft *draft); /* accepts NULL */

/* Is every file what the manifest says? @read_all: read also what was not changed. @progress may be
 * NULL. SNAPSHOT_NOT_FOUND; SNAPSHOT_FAILED, with cause CORRUPT. */
int snapshots_verify(Snapshots *snapshots, const SnapshotKey *key, bool read_all,
		     const DiskProgress *progress, Error *err) must_check;

/* Pages that VMs restored from it used first; no part of it, and made by them. */
#define SNAPSHOT_WORKING_SET ".working-set"

/* What the disk of that drive is called in a snapshot; to free. */
char *snapshot_disk_file(const char *drive_id);

/* Where a file of it is, or its directory (@file NULL); to free. */
char *snapshots_path(const Snapshots *snapshots, const SnapshotKey *key, const char *file);

/* A VM needs it: until it is unpinned as often, it is not deleted. Nothing of that is recorded. */
int snapshots_pin(Snapshots *snapshots, const SnapshotKey *key, Error *err) must_check;
void snapshots_unpin(Snapshots *snapshots, const SnapshotKey *key);

/* SNAPSHOT_NOT_FOUND; IN_USE: it is pinned, or being made or read. */
int snapshots_delete(Snapshots *snapshots, const SnapshotKey *key, Error *err) must_check;
