/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"
#include "runtime/snapshots/snapshot_runs.h"
#include "runtime/snapshots/snapshots_internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

/* Whether a snapshot is what its manifest says. */

/* Reading several files, as one. */
typedef struct Reading {
	const DiskProgress *of;
	uint64_t before, total; /* bytes: of the files that were read, of all */
} Reading;

typedef struct Check {
	Snapshots *snapshots;
	const SnapshotKey *key;
	const char *dir;
	const SnapshotManifest *manifest;
	bool read_all;
	Reading reading;
} Check;

static bool step(void *user, uint64_t done, uint64_t total)
{
	const Reading *reading = user;

	(void)total;
	return disk_progress(reading->of, reading->before + done, reading->total) == 0;
}

/* The bytes that all of @manifest's files have. */
static uint64_t bytes_of(const SnapshotManifest *manifest)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < snapshot_file_count(manifest); i++)
		bytes += snapshot_file_at(manifest, i)->size;
	return bytes;
}

/* A file that is being looked at. */
typedef struct Looked {
	const char *path;
	int fd;
	DiskIdentity identity;
} Looked;

/* The digest it has, from the cache if that says @right: before a file is called damaged it is
 * read, for so may the cache be. */
static int read_digest(Check *check, const Looked *looked, const char *right,
		       char ret[static DISK_DIGEST_SIZE], Error *err)
{
	HashCache *hashes = check->snapshots->hashes;
	DiskProgress progress = { .step = step, .user = &check->reading };

	if (check->read_all) {
		/* From the disk, not from memory. */
		(void)posix_fadvise(looked->fd, 0, 0, POSIX_FADV_DONTNEED);
		hash_cache_forget(hashes, &looked->identity);
	} else if (hash_cache_find(hashes, &looked->identity, ret) && strcmp(ret, right) == 0) {
		return 0;
	}
	return hash_cache_read(hashes, looked->fd, looked->path, &progress, ret, err);
}

static int look_at(const Check *check, const char *path, int *fd, DiskIdentity *identity,
		   Error *err)
{
	const Snapshots *snapshots = check->snapshots;
	int r;

	if (disk_open(fd, snapshots->fd, snapshot_relative(snapshots, path), err) < 0) {
		/* It was there, and a file, when the manifest was written. */
		if (err->cause == CAUSE_MISSING || err->cause == CAUSE_INPUT)
			err->cause = CAUSE_CORRUPT;
		return snapshot_error(err, check->key);
	}
	r = disk_identity_get(identity, *fd);
	return r < 0 ? snapshot_errno(err, check->key, -r, "look at %s", path) : 0;
}

/* Are the holes where they were? Asked before the bytes are, for what these are is remembered. */
static int check_runs(const Check *check, const Looked *looked, Error *err)
{
	cleanup_(snapshot_runs_clear) SnapshotRuns runs = { 0 };
	char digest[DISK_DIGEST_SIZE];

	if (snapshot_runs_read(&runs, looked->fd, looked->path, err) < 0)
		return snapshot_error(err, check->key);
	snapshot_runs_digest(&runs, digest);
	if (text_equal(digest, check->manifest->memory_runs))
		return 0;
	return snapshot_refuse(err, check->key, CAUSE_CORRUPT,
			       "%s has its holes elsewhere than when it was made", looked->path);
}

static bool is_layer(const Check *check, const SnapshotFile *file)
{
	return check->manifest->kind == SNAPSHOT_DIFF &&
	       strcmp(file->name, SNAPSHOT_MEMORY_FILE) == 0;
}

static int check_file(Check *check, const SnapshotFile *file, Error *err)
{
	cleanup_free char *path = text_printf("%s/%s", check->dir, file->name);
	char digest[DISK_DIGEST_SIZE];
	cleanup_close int fd = -1;
	Looked looked = { .path = path };

	if (look_at(check, path, &fd, &looked.identity, err) < 0)
		return -1;
	looked.fd = fd;
	if (looked.identity.size != file->size)
		return snapshot_refuse(err, check->key, CAUSE_CORRUPT,
				       "%s has %" PRIu64 " bytes, and had %" PRIu64
				       " when it was made",
				       path, looked.identity.size, file->size);
	if (is_layer(check, file) && check_runs(check, &looked, err) < 0)
		return -1;
	if (read_digest(check, &looked, file->sha256, digest, err) < 0)
		return snapshot_error(err, check->key);
	if (strcmp(digest, file->sha256) != 0)
		return snapshot_refuse(err, check->key, CAUSE_CORRUPT,
				       "%s has SHA-256 %s, and had %s when it was made", path,
				       digest, file->sha256);
	check->reading.before += file->size;
	return 0;
}

static int check_files(Check *check, Error *err)
{
	check->reading.total = bytes_of(check->manifest);
	for (size_t i = 0; i < snapshot_file_count(check->manifest); i++)
		if (check_file(check, snapshot_file_at(check->manifest, i), err) < 0)
			return -1;
	return 0;
}

/* Is each file known to be what @manifest says? Reads none of them. */
static bool is_known(const Snapshots *snapshots, const char *dir, const SnapshotManifest *manifest)
{
	for (size_t i = 0; i < snapshot_file_count(manifest); i++) {
		const SnapshotFile *file = snapshot_file_at(manifest, i);
		cleanup_free char *path = text_printf("%s/%s", dir, file->name);
		char digest[DISK_DIGEST_SIZE];
		cleanup_close int fd = -1;
		DiskIdentity identity;
		Error none = { 0 };

		if (disk_open(&fd, snapshots->fd, snapshot_relative(snapshots, path), &none) < 0 ||
		    disk_identity_get(&identity, fd) < 0 || identity.size != file->size ||
		    !hash_cache_find(snapshots->hashes, &identity, digest) ||
		    strcmp(digest, file->sha256) != 0)
			return false;
	}
	return true;
}

/* What was found out is what is told of it from now on. */
static void tell(Snapshots *snapshots, SnapshotEntry *entry, SnapshotManifest *manifest,
		 const Error *problem)
{
	lock_take(&snapshots->lock);
	if (manifest)
		snapshot_take_in(entry, manifest);
	entry->state = error_is_set(problem) ? SNAPSHOT_FAILED : SNAPSHOT_READY;
	entry->problem = *problem;
	snapshot_changed(snapshots, entry);
	lock_drop(&snapshots->lock);
}

int snapshot_verify_entry(Snapshots *snapshots, SnapshotEntry *entry, bool read_all,
			  const DiskProgress *progress, Error *err)
{
	cleanup_free char *dir = snapshot_path(snapshots, &entry->key, NULL);
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = NULL;
	Check check = {
		.snapshots = snapshots,
		.key = &entry->key,
		.dir = dir,
		.read_all = read_all,
		.reading.of = progress,
	};
	Error found = { 0 };
	int r = snapshot_read_manifest(dir, &entry->key, &manifest, &found);

	check.manifest = manifest;
	if (r == 0 && (read_all || !is_known(snapshots, dir, manifest))) {
		snapshot_claim(snapshots, entry);
		r = check_files(&check, &found);
		snapshot_settle(snapshots, entry);
	}
	/* Who gives up, or has no descriptors left, has found out nothing. */
	if (r == 0 || found.cause == CAUSE_CORRUPT)
		tell(snapshots, entry, manifest, &found);
	if (r < 0)
		*err = found;
	return r;
}

int snapshots_verify(Snapshots *snapshots, const char *vm_id, const char *snapshot_id,
		     bool read_all, const DiskProgress *progress, Error *err)
{
	SnapshotEntry *entry;
	SnapshotKey key;
	int r;

	if (snapshot_key(&key, vm_id, snapshot_id, err) < 0 ||
	    snapshot_hold(snapshots, &key, &entry, err) < 0)
		return -1;
	r = snapshot_verify_entry(snapshots, entry, read_all, progress, err);
	snapshot_release(snapshots, entry);
	return r;
}
