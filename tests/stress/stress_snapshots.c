/* SPDX-License-Identifier: Apache-2.0 */

/* Threads that make, list, verify, use, flatten and delete the same few snapshots: what is used is
 * what was written, and at the end nothing is left that has no name. */

#include "base/file.h"
#include "base/text.h"
#include "runtime/snapshots/snapshots.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
	THREADS = 6,
	ROUNDS = 500,
	NAMES = 4,
	PAGE = 4096,
	MEMORY = 16 * PAGE,
};

static char dir[] = "/tmp/hearth-stress-snapshots.XXXXXX";
static char source[64];
static Snapshots *snapshots;
static const SnapshotHost host = { .available = true, .backend = "in_memory" };
static atomic_uint wrong, made, used, verified, flattened, deleted, refused;

/* These are the answers of others having been there first; anything else is wrong. */
static void expect(int r, const Error *err, atomic_uint *done)
{
	char message[ERROR_MESSAGE_MAX];
	bool fits = err->kind == ERROR_IN_USE || err->kind == ERROR_SNAPSHOT_NOT_FOUND ||
		    err->kind == ERROR_SNAPSHOT_ALREADY_EXISTS || err->cause == CAUSE_INPUT;

	if (r == 0) {
		atomic_fetch_add(done, 1);
	} else if (fits) {
		atomic_fetch_add(&refused, 1);
	} else {
		(void)fprintf(stderr, "%s\n", error_message(err, message));
		atomic_fetch_add(&wrong, 1);
	}
}

/* The page of memory that snapshot @name writes; the first one writes all. */
static int write_memory(const SnapshotDraft *draft, unsigned name)
{
	cleanup_free char *path =
		text_printf("%s/" SNAPSHOT_MEMORY_FILE, snapshot_draft_dir(draft));
	cleanup_close int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	char page[PAGE];

	memset(page, (int)('a' + name), sizeof page);
	if (fd < 0 || ftruncate(fd, MEMORY) < 0)
		return -1;
	for (off_t at = 0; at < MEMORY; at += PAGE)
		if ((name == 0 || at == (off_t)name * PAGE) &&
		    pwrite(fd, page, sizeof page, at) != PAGE)
			return -1;
	return 0;
}

static int finish(SnapshotDraft *draft, unsigned name, Error *err)
{
	cleanup_(snapshot_manifest_unrefp) SnapshotManifest *manifest = snapshot_manifest_new();
	cleanup_close int disk = open(source, O_RDONLY | O_CLOEXEC);

	if (disk < 0 || write_memory(draft, name) < 0)
		return error_set(err, ERROR_SNAPSHOT_FAILED, "write the memory");
	snapshot_host_describe(&host, manifest);
	snapshot_set(&manifest->spec, "{}");
	snapshot_manifest_add_drive(manifest, "root", "rootfs");
	return snapshot_draft_add_disk(draft, "root", disk, NULL, err) < 0 ||
			       snapshot_draft_finish(draft, manifest, NULL, err) < 0
		       ? -1
		       : 0;
}

/* Each is laid over the one before it. */
static void make(const char *id, unsigned name)
{
	cleanup_(snapshot_draft_endp) SnapshotDraft *draft = NULL;
	cleanup_free char *parent = name ? text_printf("s%u", name - 1) : NULL;
	const SnapshotBegin begin = {
		.vm_id = "web",
		.snapshot_id = id,
		.request = "00",
		.parent = parent,
		.bytes = MEMORY,
	};
	SnapshotBegun begun = SNAPSHOT_BEGUN_READY;
	Error err = { 0 };
	int r = snapshots_begin(snapshots, &begin, &draft, &begun, &err);

	if (r == 0 && begun == SNAPSHOT_BEGUN)
		r = finish(draft, name, &err);
	expect(r, &err, &made);
}

/* What the guest would find in the page that @name writes. */
static char page_of(const SnapshotLayers *layers, unsigned name)
{
	char found = 0;

	for (size_t i = 0; i < layers->count; i++) {
		const SnapshotLayer *layer = &layers->items[i];
		cleanup_close int fd = open(layer->path, O_RDONLY | O_CLOEXEC);

		for (size_t j = 0; j < layer->runs.count; j++)
			if (layer->runs.items[j].at <= (uint64_t)name * PAGE &&
			    layer->runs.items[j].end > (uint64_t)name * PAGE &&
			    pread(fd, &found, 1, (off_t)name * PAGE) != 1)
				return 0;
	}
	return found;
}

static void use(const char *id, unsigned name)
{
	cleanup_(snapshot_use_endp) SnapshotUse *in_use = NULL;
	cleanup_(snapshot_layers_clear) SnapshotLayers layers = { 0 };
	const SnapshotAsk ask = { .vm_id = "web", .snapshot_id = id, .host = &host };
	Error err = { 0 };
	int r = snapshots_use(snapshots, &ask, &in_use, &err);

	if (r == 0)
		r = snapshot_use_layers(in_use, &layers, &err);
	expect(r, &err, &used);
	if (r == 0 && page_of(&layers, name) != (char)('a' + name))
		atomic_fetch_add(&wrong, 1);
}

static void look(const char *id)
{
	SnapshotInfo *infos, info = { 0 };
	size_t count;
	Error none = { 0 };

	snapshots_list(snapshots, NULL, NULL, &infos, &count);
	if (count > NAMES)
		atomic_fetch_add(&wrong, 1);
	snapshot_infos_free(infos, count);
	if (snapshots_get(snapshots, "web", id, &info, &none) == 0 && info.state == SNAPSHOT_FAILED)
		atomic_fetch_add(&wrong, 1);
	snapshot_info_clear(&info);
}

static void do_one(const char *id, unsigned name, unsigned what)
{
	Error err = { 0 };

	switch (what % 8) {
	case 0:
		expect(snapshots_delete(snapshots, "web", id, &err), &err, &deleted);
		break;
	case 1:
		expect(snapshots_verify(snapshots, "web", id, what & 8, NULL, &err), &err,
		       &verified);
		break;
	case 2:
		expect(snapshots_flatten(snapshots, "web", id, NULL, &err), &err, &flattened);
		break;
	case 3:
		look(id);
		break;
	case 4:
	case 5:
		use(id, name);
		break;
	default:
		make(id, name);
	}
}

static void *work(void *arg)
{
	uint64_t seed = *(const uint64_t *)arg;

	for (int round = 0; round < ROUNDS; round++) {
		cleanup_free char *id = NULL;
		unsigned name;

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
		name = (unsigned)(seed >> 40) % NAMES;
		id = text_printf("s%u", name);
		do_one(id, name, (unsigned)(seed >> 50));
	}
	return NULL;
}

/* The uppermost first: none is needed any more then. */
static void delete_all(void)
{
	for (unsigned name = NAMES; name-- > 0;) {
		cleanup_free char *id = text_printf("s%u", name);
		Error err = { 0 };

		if (snapshots_delete(snapshots, "web", id, &err) < 0 &&
		    err.kind != ERROR_SNAPSHOT_NOT_FOUND)
			atomic_fetch_add(&wrong, 1);
	}
}

static size_t count_names(const char *path)
{
	cleanup_closedir DIR *stream = opendir(path);
	size_t count = 0;

	while (stream && readdir(stream))
		count++;
	return count;
}

int main(void)
{
	cleanup_free char *catalog = NULL;
	SnapshotsConfig config = { 0 };
	pthread_t threads[THREADS];
	uint64_t seeds[THREADS];
	char disk[PAGE] = "a disk";
	Error err = { 0 };

	if (!mkdtemp(dir))
		return 1;
	(void)snprintf(source, sizeof source, "%s/disk", dir);
	catalog = text_printf("%s/snapshots", dir);
	config.dir = catalog;
	if (file_write_atomic(source, disk, sizeof disk) < 0 ||
	    snapshots_open(&snapshots, &config, &err) < 0)
		return 1;
	for (size_t i = 0; i < THREADS; i++) {
		seeds[i] = i + 1;
		if (pthread_create(&threads[i], NULL, work, &seeds[i]) != 0)
			return 1;
	}
	for (size_t i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	delete_all();
	/* ".", ".." and the digests. */
	if (count_names(catalog) != 3)
		atomic_fetch_add(&wrong, 1);
	snapshots_close(snapshots);
	(void)!file_remove_tree(dir);
	(void)printf("made %u, used %u, verified %u, flattened %u, deleted %u, refused %u, "
		     "wrong %u\n",
		     made, used, verified, flattened, deleted, refused, wrong);
	return wrong || !made || !used || !verified || !flattened || !deleted;
}
