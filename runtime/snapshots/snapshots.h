/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The catalog of one node's snapshots.
 *
 * A snapshot is a directory of the catalog's, <vm_id>/<snapshot_id>/, and stands on its own: what a
 * backend wrote (SNAPSHOT_MEMORY_FILE, state), disk-<drive_id> for each drive, and manifest.json,
 * which says what it is and vouches for every byte (runtime/snapshots/snapshot_manifest.h). It
 * outlives its VM, and this agent. The directory is the truth: it is read at the start, nothing of
 * it is recorded elsewhere. What is damaged is listed with its problem and can be deleted.
 *
 * One is made by a draft: snapshots_begin() reserves the name and takes room, the backend writes
 * into the draft's directory, disks are added, and snapshot_draft_finish() hashes all, puts it on
 * the disk and gives it its name at once. Until then it is called as only we call things, with a
 * dot, and goes at the next start if this agent dies. A draft is one thread's at a time.
 *
 * A diff has the memory that was written since its parent was made: it needs its parent, which is
 * not deleted before it. At most SNAPSHOT_CHAIN_MAX are laid over one another;
 * snapshots_flatten() makes a full one of a diff.
 *
 * The directory is one agent's (the store's lock sees to that), and best on the file system of the
 * VMs' disks: then these are reflinks. Calls block, on the disk and as long as the files are
 * large; safe from any thread. Errors name VM and snapshot: SNAPSHOT_NOT_FOUND; SNAPSHOT_FAILED
 * with a cause: INPUT (an id or what was given for the manifest), EXHAUSTED (disk, quota, limit),
 * CORRUPT (what is there is not what was written), TIMEOUT (given up); IN_USE.
 */

#include "runtime/images/disk_clone.h"
#include "runtime/snapshots/snapshot_host.h"
#include "runtime/snapshots/snapshot_runs.h"

enum {
	SNAPSHOT_CHAIN_MAX = 16,  /* a full one and what is laid over it */
	SNAPSHOT_FAILED_MAX = 64, /* drafts that failed and are still shown */
};

typedef struct SnapshotsConfig {
	const char *dir;      /* absolute; made if missing */
	uint64_t max_bytes;   /* of all; what a reflink shares counts as if it were its own;
				 0: no limit */
	uint64_t spare_bytes; /* of the file system, that are to stay free */
} SnapshotsConfig;

typedef struct Snapshots Snapshots;

/* Removes what was never finished. SNAPSHOT_FAILED; a damaged snapshot is no failure. */
int snapshots_open(Snapshots **ret, const SnapshotsConfig *config, Error *err) must_check;
void snapshots_close(Snapshots *snapshots); /* nothing is under way or used; accepts NULL */
DEFINE_CLEANUP(Snapshots *, snapshots_close);

/* ---- looking ---- */

typedef enum SnapshotState {
	SNAPSHOT_CREATING = 1,
	SNAPSHOT_READY,
	SNAPSHOT_FAILED, /* .problem: either nothing came of it, until it is deleted, made again or
			    this agent ends; or it is there and damaged */
} SnapshotState;

typedef struct SnapshotInfo {
	char vm_id[ERROR_ID_MAX], snapshot_id[ERROR_ID_MAX];
	char tenant[SNAPSHOT_FACT_MAX];
	char parent[ERROR_ID_MAX]; /* of a diff */
	SnapshotState state;
	int64_t created;      /* wall usec; 0: not known */
	uint64_t done, total; /* bytes, while it is being made */
	uint64_t allocated;   /* of the disk */
	size_t users;         /* those who have pinned it */
	size_t children;      /* diffs that need it */
	size_t depth;         /* how many are laid over one another for it: 1 for a full one */
	uint64_t version;     /* another one with every change of it, of all but children and depth;
				 no two in this agent's life have the same */
	SnapshotManifest *manifest; /* a reference; NULL while it is being made or if it is damaged
				     */
	Error problem;
} SnapshotInfo;

void snapshot_info_clear(SnapshotInfo *info); /* zeroed is fine */
void snapshot_infos_free(SnapshotInfo *infos, size_t count);

/* To clear. SNAPSHOT_NOT_FOUND. */
int snapshots_get(Snapshots *snapshots, const char *vm_id, const char *snapshot_id,
		  SnapshotInfo *ret, Error *err) must_check;

/**
 * snapshots_list() - all that are there, by VM and id
 * @vm_id:	of that one alone; NULL: of all
 * @tenant:	as asked at their beginning; NULL: of all
 * @ret:	for snapshot_infos_free()
 */
void snapshots_list(Snapshots *snapshots, const char *vm_id, const char *tenant, SnapshotInfo **ret,
		    size_t *count);

/* One who is told that something of the catalog is another than it was. */
typedef struct SnapshotsListener SnapshotsListener;
struct SnapshotsListener {
	void (*wake)(SnapshotsListener *listener); /* must not block, nor call back */
	SnapshotsListener *prev, *next;
};

void snapshots_listen(Snapshots *snapshots, SnapshotsListener *listener);
/* Once this returns it is not woken any more. */
void snapshots_unlisten(Snapshots *snapshots, SnapshotsListener *listener);

/* ---- making ---- */

typedef struct SnapshotBegin {
	const char *vm_id, *snapshot_id;
	const char *tenant;  /* or NULL */
	const char *request; /* the digest of the request, hexadecimal; NULL: equal to no other */
	const char *parent;  /* a snapshot of the same VM, to make a diff; or NULL */
	uint64_t bytes;      /* that the backend is going to write */
} SnapshotBegin;

typedef enum SnapshotBegun {
	SNAPSHOT_BEGUN,           /* the draft is the caller's */
	SNAPSHOT_BEGUN_READY,     /* the same request has made it: it is the answer; no draft */
	SNAPSHOT_BEGUN_UNDER_WAY, /* the same request is making it; no draft */
} SnapshotBegun;

typedef struct SnapshotDraft SnapshotDraft;

/**
 * snapshots_begin() - a snapshot that is to be made
 * @ret:	on SNAPSHOT_BEGUN alone, for snapshot_draft_end()
 *
 * SNAPSHOT_ALREADY_EXISTS: another request's, or damaged; a draft that failed makes way.
 * SNAPSHOT_NOT_FOUND: the parent. SNAPSHOT_FAILED: EXHAUSTED; INPUT also if the parent is as deep
 * as one may be (SnapshotInfo's depth tells before: flatten it first).
 */
int snapshots_begin(Snapshots *snapshots, const SnapshotBegin *begin, SnapshotDraft **ret,
		    SnapshotBegun *begun, Error *err) must_check;

/* Where the backend writes: absolute, empty, mode 0700; there until the draft ends. It may have
 * regular files alone, SNAPSHOT_FILES_MAX of them, named as snapshot_is_file_name() says. */
const char *snapshot_draft_dir(const SnapshotDraft *draft);

/* What snapshots_get() is to tell meanwhile. */
void snapshot_draft_progress(SnapshotDraft *draft, uint64_t done, uint64_t total);

/**
 * snapshot_draft_add_disk() - a copy of a drive's disk
 * @disk:	open for reading, written by nobody meanwhile; its offset is moved
 * @progress:	of a copy; a reflink takes no time. May be NULL
 */
int snapshot_draft_add_disk(SnapshotDraft *draft, const char *drive_id, int disk,
			    const DiskProgress *progress, Error *err) must_check;

/**
 * snapshot_draft_finish() - hash, write the manifest, and give it its name
 * @manifest:	with all of it that is the caller's, and each drive that was added; nobody changes
 *		it any more, and the catalog takes a reference of its own
 * @progress:	of the hashing; may be NULL
 *
 * What is hashed is the draft's alone, so the VM may run again meanwhile. On success it is READY,
 * whole and on the disk. On failure the draft is to be failed or ended.
 */
int snapshot_draft_finish(SnapshotDraft *draft, SnapshotManifest *manifest,
			  const DiskProgress *progress, Error *err) must_check;

/* Nothing comes of it; @why is shown under its name. To be ended all the same. */
void snapshot_draft_fail(SnapshotDraft *draft, const Error *why);

/* Frees it. What was neither finished nor failed leaves nothing. Accepts NULL. */
void snapshot_draft_end(SnapshotDraft *draft);
DEFINE_CLEANUP(SnapshotDraft *, snapshot_draft_end);

/* ---- keeping ---- */

/**
 * snapshots_verify() - is every byte what it was?
 * @read_all:	read even what was not changed since it was last read: disks fail silently
 * @progress:	of the reading; may be NULL
 *
 * Of that one alone, not of its parents. What is damaged is FAILED from then on, until it is found
 * whole again. Of several callers one reads and the others wait, and cannot give up meanwhile.
 */
int snapshots_verify(Snapshots *snapshots, const char *vm_id, const char *snapshot_id,
		     bool read_all, const DiskProgress *progress, Error *err) must_check;

/* A VM depends on it: until it is unpinned as often, it is not deleted. Nothing of that is
 * recorded. SNAPSHOT_NOT_FOUND; IN_USE while it is being made. */
int snapshots_pin(Snapshots *snapshots, const char *vm_id, const char *snapshot_id, Error *err)
	must_check;
void snapshots_unpin(Snapshots *snapshots, const char *vm_id, const char *snapshot_id);

/* The clones of its disks live on. IN_USE: it is pinned, used, being made, or a diff needs it. */
int snapshots_delete(Snapshots *snapshots, const char *vm_id, const char *snapshot_id, Error *err)
	must_check;

/* ---- restoring ---- */

/* A snapshot that is as it was written, as are those it is laid over, and that can be loaded here;
 * none of them goes while it is used. */
typedef struct SnapshotUse SnapshotUse;

typedef struct SnapshotAsk {
	const char *vm_id, *snapshot_id;
	const SnapshotHost *host;     /* what is to load it; looked at before anything is read.
					 NULL: nothing is */
	const DiskProgress *progress; /* of what has to be read, mostly nothing, of each that is
					 laid over another anew; may be NULL */
} SnapshotAsk;

/**
 * snapshots_use() - open one for a restore
 * @ret:	for snapshot_use_end(); who goes on depending on it pins it before
 *
 * UNSUPPORTED: snapshot_check_host(). IN_USE: it is being made. A problem it is known to have,
 * unless it is gone by now.
 */
int snapshots_use(Snapshots *snapshots, const SnapshotAsk *ask, SnapshotUse **ret, Error *err)
	must_check;
void snapshot_use_end(SnapshotUse *use); /* accepts NULL */
DEFINE_CLEANUP(SnapshotUse *, snapshot_use_end);

/* While it is used: its directory (absolute), to be read alone; and its manifest. */
const char *snapshot_use_dir(const SnapshotUse *use);
const SnapshotManifest *snapshot_use_manifest(const SnapshotUse *use);

typedef struct SnapshotClone {
	const char *drive_id;
	const char *to; /* as disk_clone() has it, and so what follows */
	bool durable;
	const DiskProgress *progress;
} SnapshotClone;

/* A VM's own disk (mode 0600). SNAPSHOT_FAILED as disk_clone() has it; MISSING: no such drive. */
int snapshot_use_clone_disk(const SnapshotUse *use, const SnapshotClone *clone, DiskCloneWay *ret,
			    Error *err) must_check;

/* ---- diffs ---- */

/* One memory file of those that are laid over one another. What it has data for is in runs. */
typedef struct SnapshotLayer {
	char *path;
	uint64_t size;
	SnapshotRuns runs;
} SnapshotLayer;

typedef struct SnapshotLayers {
	SnapshotLayer items[SNAPSHOT_CHAIN_MAX];
	size_t count; /* 0: it has no memory file */
} SnapshotLayers;

/**
 * snapshot_use_layers() - where the guest's memory is
 * @ret:	the undermost first; for snapshot_layers_clear(), the paths good while it is used
 *
 * A page is that of the uppermost which has data there, and zeros if none has.
 */
int snapshot_use_layers(const SnapshotUse *use, SnapshotLayers *ret, Error *err) must_check;
void snapshot_layers_clear(SnapshotLayers *layers); /* zeroed is fine */

/**
 * snapshots_flatten() - make a full snapshot of a diff
 * @progress:	of the copying and hashing; may be NULL
 *
 * It is the same snapshot, with the same uid, and needs no parent any more; those laid over it stay
 * so. Takes the room of the memory, and the time to copy it. It is a diff until it is full, at
 * once. A full one is left as it is. IN_USE: somebody else uses it at the end, for more than
 * depending on it: nothing is restored of a diff before it is full.
 */
int snapshots_flatten(Snapshots *snapshots, const char *vm_id, const char *snapshot_id,
		      const DiskProgress *progress, Error *err) must_check;
