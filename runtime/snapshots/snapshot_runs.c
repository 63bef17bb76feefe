/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/snapshots/snapshot_runs.h"

#include <endian.h>
#include <sys/stat.h>

/* One more run; room for it is made by doubling. */
static void add(SnapshotRuns *runs, uint64_t at, uint64_t end)
{
	if (runs->count && runs->items[runs->count - 1].end == at) {
		runs->items[runs->count - 1].end = end;
		return;
	}
	if ((runs->count & (runs->count - 1)) == 0)
		runs->items = must_realloc(runs->items, runs->count ? 2 * runs->count : 1,
					   sizeof *runs->items);
	runs->items[runs->count++] = (DiskRun){ .at = at, .end = end };
}

int snapshot_runs_read(SnapshotRuns *ret, int fd, const char *path, Error *err)
{
	cleanup_(snapshot_runs_clear) SnapshotRuns runs = { 0 };
	uint64_t found[2] = { 0 };
	struct stat st;

	if (fstat(fd, &st) < 0)
		return disk_error(err, errno, "look at %s", path);
	for (;;) {
		int r = disk_next_data(found, fd, found[1], (uint64_t)st.st_size);

		if (r < 0)
			return disk_error(err, -r, "look for the data of %s", path);
		if (found[0] == found[1])
			break;
		if (runs.count == SNAPSHOT_RUNS_MAX)
			return error_set(err, ERROR_ROOTFS, "%s lies in more than %d pieces", path,
					 SNAPSHOT_RUNS_MAX);
		add(&runs, found[0], found[1]);
	}
	*ret = runs;
	runs = (SnapshotRuns){ 0 };
	return 0;
}

void snapshot_runs_clear(SnapshotRuns *runs)
{
	free(runs->items);
	*runs = (SnapshotRuns){ 0 };
}

void snapshot_runs_digest(const SnapshotRuns *runs, char ret[static DISK_DIGEST_SIZE])
{
	cleanup_(disk_hasher_freep) DiskHasher *hasher = disk_hasher_new();

	for (size_t i = 0; i < runs->count; i++) {
		const uint64_t run[] = { htole64(runs->items[i].at), htole64(runs->items[i].end) };

		disk_hasher_add(hasher, run, sizeof run);
	}
	disk_hasher_end(hasher, ret);
}
