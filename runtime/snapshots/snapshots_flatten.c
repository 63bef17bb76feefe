/* SPDX-License-Identifier: Apache-2.0 */
#include "base/file.h"
#include "base/text.h"
#include "runtime/images/aside.h"
#include "runtime/snapshots/snapshots_internal.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>

/*
 * A diff becomes full: a directory is made beside it, with a memory of its own, the same other
 * files, by a second name, and a manifest that says so; then the two change places, at once.
 */

enum {
	PIECE = 1 << 20,
};

typedef struct Flatten {
	const SnapshotUse *use;
	const DiskProgress *progress; /* the caller's */
	SnapshotLayers layers;
	SnapshotManifest *manifest; /* that it is to have */
	char *dir;                  /* aside */
	int memory;                 /* the new one, open */
	uint64_t done, total;       /* bytes, of copying and hashing */
	/* Of the files that get a second name: as they were when they were verified. */
	DiskIdentity known[SNAPSHOT_FILES_MAX];
} Flatten;

static const SnapshotKey *key_of(const Flatten *flatten)
{
	return &flatten->use->entries[0]->key;
}

static bool step(void *user, uint64_t done, uint64_t total)
{
	const Flatten *flatten = user;

	(void)total;
	return disk_progress(flatten->progress, flatten->done + done, flatten->total) == 0;
}

static bool is_memory(const SnapshotFile *file)
{
	return strcmp(file->name, SNAPSHOT_MEMORY_FILE) == 0;
}

/* One run of a layer. Return: 0 or -errno. */
static int copy_run(Flatten *flatten, int layer, const DiskRun *run)
{
	cleanup_free char *piece = must_realloc(NULL, PIECE, 1);
	uint64_t at = run->at;
	int r = 0;

	while (r == 0 && at < run->end) {
		uint64_t left = run->end - at;
		ssize_t n = disk_read(layer, piece, left < PIECE ? left : PIECE, at);

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		r = disk_write(flatten->memory, piece, (size_t)n, at);
		at += (uint64_t)n;
		flatten->done += (uint64_t)n;
		if (r == 0)
			r = disk_progress(flatten->progress, flatten->done, flatten->total);
	}
	return r;
}

static int lay_over(Flatten *flatten, const SnapshotLayer *layer, Error *err)
{
	const Snapshots *snapshots = flatten->use->snapshots;
	cleanup_close int fd = -1;

	if (disk_open(&fd, snapshots->fd, snapshot_relative(snapshots, layer->path), err) < 0)
		return snapshot_error(err, key_of(flatten));
	for (size_t i = 0; i < layer->runs.count; i++) {
		int r = copy_run(flatten, fd, &layer->runs.items[i]);

		if (r < 0)
			return snapshot_errno(err, key_of(flatten), -r, "copy %s", layer->path);
	}
	return 0;
}

/* Of the undermost as it is. */
static int begin_memory(Flatten *flatten, const char *path, Error *err)
{
	const Snapshots *snapshots = flatten->use->snapshots;
	const char *base = snapshot_relative(snapshots, flatten->layers.items[0].path);
	DiskProgress progress = { .step = step, .user = flatten };
	DiskCloneOptions options = { .mode = 0600, .progress = &progress };
	cleanup_close int origin = -1;
	DiskCloneWay way;

	(void)disk_room_read(snapshots->room, NULL, &options.spare);
	if (disk_open(&origin, snapshots->fd, base, err) < 0 ||
	    disk_clone(&way, path, origin, &options, err) < 0)
		return snapshot_error(err, key_of(flatten));
	flatten->memory = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (flatten->memory < 0)
		return snapshot_errno(err, key_of(flatten), errno, "open %s", path);
	flatten->done += flatten->layers.items[0].size;
	return 0;
}

static int make_memory(Flatten *flatten, Error *err)
{
	const Snapshots *snapshots = flatten->use->snapshots;
	cleanup_free char *path = text_printf("%s/" SNAPSHOT_MEMORY_FILE, flatten->dir);
	SnapshotFile *file = snapshot_manifest_file(flatten->manifest, SNAPSHOT_MEMORY_FILE);
	DiskProgress progress = { .step = step, .user = flatten };
	SnapshotSeal seal = {
		.hashes = snapshots->hashes,
		.key = key_of(flatten),
		.path = path,
		.progress = &progress,
	};

	if (begin_memory(flatten, path, err) < 0)
		return -1;
	for (size_t i = 1; i < flatten->layers.count; i++)
		if (lay_over(flatten, &flatten->layers.items[i], err) < 0)
			return -1;
	seal.fd = flatten->memory;
	return snapshot_seal(&seal, file, err);
}

static int name_file(Flatten *flatten, size_t i, Error *err)
{
	const Snapshots *snapshots = flatten->use->snapshots;
	const SnapshotFile *file = snapshot_file_at(flatten->manifest, i);
	cleanup_free char *from = snapshot_path(snapshots, key_of(flatten), file->name);
	cleanup_free char *to = text_printf("%s/%s", flatten->dir, file->name);
	cleanup_close int fd = -1;
	int r;

	if (disk_open(&fd, snapshots->fd, snapshot_relative(snapshots, from), err) < 0)
		return snapshot_error(err, key_of(flatten));
	r = disk_identity_get(&flatten->known[i], fd);
	if (r == 0 && linkat(AT_FDCWD, from, AT_FDCWD, to, 0) < 0)
		r = -errno;
	return r < 0 ? snapshot_errno(err, key_of(flatten), -r, "name %s", to) : 0;
}

/* The other files, and the manifest. */
static int make_rest(Flatten *flatten, Error *err)
{
	cleanup_free char *path = text_printf("%s/" SNAPSHOT_MANIFEST, flatten->dir);
	cleanup_free char *text = NULL;
	SnapshotManifest *manifest = flatten->manifest;
	int r;

	for (size_t i = 0; i < snapshot_file_count(manifest); i++)
		if (!is_memory(snapshot_file_at(manifest, i)) && name_file(flatten, i, err) < 0)
			return -1;
	manifest->kind = SNAPSHOT_FULL;
	snapshot_set(&manifest->parent, NULL);
	snapshot_set(&manifest->parent_uid, NULL);
	snapshot_set(&manifest->memory_runs, NULL);
	if (snapshot_manifest_to_text(manifest, &text, err) < 0)
		return snapshot_error(err, key_of(flatten));
	r = file_write_atomic(path, text, strlen(text));
	return r < 0 ? snapshot_errno(err, key_of(flatten), -r, "write %s", path) : 0;
}

/* Nobody else has it, and nobody will until it is opened again. */
static int close_entry(const Flatten *flatten, bool *is_closed, Error *err)
{
	Snapshots *snapshots = flatten->use->snapshots;
	SnapshotEntry *entry = flatten->use->entries[0];

	lock_take(&snapshots->lock);
	*is_closed = !entry->closed && entry->holds == 1;
	if (*is_closed)
		entry->closed = true;
	lock_drop(&snapshots->lock);
	if (*is_closed)
		return 0;
	error_about_snapshot(err, entry->key.vm_id, entry->key.snapshot_id);
	return error_set(err, ERROR_IN_USE, "snapshot '%s' of vm '%s' is used",
			 entry->key.snapshot_id, entry->key.vm_id);
}

/* @manifest: what it is now; NULL: what it was. */
static void open_entry(const Flatten *flatten, SnapshotManifest *manifest, uint64_t allocated)
{
	Snapshots *snapshots = flatten->use->snapshots;
	SnapshotEntry *entry = flatten->use->entries[0];
	uint64_t before;

	lock_take(&snapshots->lock);
	before = entry->allocated;
	if (manifest) {
		snapshot_take_in(entry, manifest);
		entry->allocated = allocated;
		snapshot_changed(snapshots, entry);
	}
	entry->closed = false;
	lock_drop(&snapshots->lock);
	if (manifest) {
		disk_room_give(snapshots->room, before);
		disk_room_add(snapshots->room, allocated);
	}
}

/* Both directories under their new names are on the disk when it returns. */
static int exchange(const Flatten *flatten, Error *err)
{
	const Snapshots *snapshots = flatten->use->snapshots;
	const char *path = flatten->use->dir;
	cleanup_free char *vm = text_printf("%s/%s", snapshots->dir, key_of(flatten)->vm_id);
	int r;

	if (renameat2(AT_FDCWD, flatten->dir, AT_FDCWD, path, RENAME_EXCHANGE) < 0)
		return snapshot_errno(err, key_of(flatten), errno, "replace %s", path);
	r = snapshot_sync_dir(vm);
	if (r == 0 && fsync(snapshots->fd) < 0)
		r = -errno;
	if (r == 0)
		return 0;
	(void)renameat2(AT_FDCWD, flatten->dir, AT_FDCWD, path, RENAME_EXCHANGE);
	return snapshot_errno(err, key_of(flatten), -r, "sync %s", vm);
}

/* That a file has lost a name changes its times; its bytes are the same. */
static void remember_file(const Flatten *flatten, size_t i)
{
	const Snapshots *snapshots = flatten->use->snapshots;
	const SnapshotFile *file = snapshot_file_at(flatten->manifest, i);
	cleanup_free char *path = snapshot_path(snapshots, key_of(flatten), file->name);
	const DiskIdentity *known = &flatten->known[i];
	cleanup_close int fd = -1;
	DiskIdentity now;
	Error none = { 0 };

	if (disk_open(&fd, snapshots->fd, snapshot_relative(snapshots, path), &none) == 0 &&
	    disk_identity_get(&now, fd) == 0 && now.inode == known->inode &&
	    now.mtime == known->mtime && now.size == known->size && disk_identity_settle(&now))
		hash_cache_put(snapshots->hashes, &now, file->sha256);
}

static int replace(Flatten *flatten, Error *err)
{
	uint64_t allocated = snapshot_allocated(flatten->dir);
	bool is_closed;
	int r = close_entry(flatten, &is_closed, err);

	if (r < 0)
		return -1;
	r = exchange(flatten, err);
	if (r == 0) {
		/* Then what is aside is what it was. */
		(void)!file_remove_tree(flatten->dir);
		for (size_t i = 0; i < snapshot_file_count(flatten->manifest); i++)
			if (!is_memory(snapshot_file_at(flatten->manifest, i)))
				remember_file(flatten, i);
	}
	open_entry(flatten, r == 0 ? flatten->manifest : NULL, allocated);
	return r;
}

/* What the memory may take: that of all layers, which is more than it will have. */
static uint64_t bytes_of(const SnapshotLayers *layers)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < layers->count; i++)
		for (size_t j = 0; j < layers->items[i].runs.count; j++)
			bytes += layers->items[i].runs.items[j].end -
				 layers->items[i].runs.items[j].at;
	return bytes;
}

static int make(Flatten *flatten, Error *err)
{
	if (mkdir(flatten->dir, 0700) < 0)
		return snapshot_errno(err, key_of(flatten), errno, "make %s", flatten->dir);
	return make_memory(flatten, err) < 0 || make_rest(flatten, err) < 0 ||
			       replace(flatten, err) < 0
		       ? -1
		       : 0;
}

static int make_within_room(Flatten *flatten, Error *err)
{
	DiskRoom *room = flatten->use->snapshots->room;
	uint64_t bytes = bytes_of(&flatten->layers);
	int r;

	flatten->total = bytes + 2 * flatten->layers.items[0].size;
	if (disk_room_take(room, bytes, flatten->dir, err) < 0)
		return snapshot_error(err, key_of(flatten));
	r = make(flatten, err);
	disk_room_settle(room, bytes, 0);
	if (r < 0)
		(void)!file_remove_tree(flatten->dir);
	return r;
}

static int flatten_use(const SnapshotUse *use, const DiskProgress *progress, Error *err)
{
	Flatten flatten = { .use = use, .progress = progress, .memory = -1 };
	int r;

	if (use->manifests[0]->minor > SNAPSHOT_MINOR)
		return error_set(err, ERROR_UNSUPPORTED,
				 "a newer agent has made snapshot '%s' of vm '%s', and may say "
				 "more of it than this one could",
				 use->entries[0]->key.snapshot_id, use->entries[0]->key.vm_id);
	if (snapshot_use_layers(use, &flatten.layers, err) < 0)
		return -1;
	flatten.dir = aside_path(use->snapshots->dir, "flat");
	r = snapshot_read_manifest(use->dir, &use->entries[0]->key, &flatten.manifest, err);
	if (r == 0)
		r = make_within_room(&flatten, err);
	if (flatten.memory >= 0)
		(void)close(flatten.memory);
	snapshot_manifest_unref(flatten.manifest);
	snapshot_layers_clear(&flatten.layers);
	free(flatten.dir);
	return r;
}

int snapshots_flatten(Snapshots *snapshots, const char *vm_id, const char *snapshot_id,
		      const DiskProgress *progress, Error *err)
{
	const SnapshotAsk ask = { .vm_id = vm_id, .snapshot_id = snapshot_id };
	cleanup_(snapshot_use_endp) SnapshotUse *use = NULL;

	if (snapshots_use(snapshots, &ask, &use, err) < 0)
		return -1;
	if (use->manifests[0]->kind == SNAPSHOT_FULL)
		return 0;
	return flatten_use(use, progress, err);
}
