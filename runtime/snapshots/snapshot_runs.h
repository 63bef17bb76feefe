/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where a memory file has data. In a diff that is as much of it as the bytes are: a hole is what
 * the parent has, and a page of zeros that was written is zeros. The digest of a file does not tell
 * the one from the other, so a diff's manifest has that of its runs as well. Safe from any thread.
 */

#include "runtime/images/disk_hash.h"
#include "runtime/images/disk_layout.h"

enum {
	SNAPSHOT_RUNS_MAX = 1 << 20,
};

/* In their order; none touches the next. */
typedef struct SnapshotRuns {
	DiskRun *items;
	size_t count;
} SnapshotRuns;

/**
 * snapshot_runs_read() - ask the file system
 * @ret:	for snapshot_runs_clear()
 * @path:	for messages
 *
 * ROOTFS; also if there are more than SNAPSHOT_RUNS_MAX. Moves @fd's offset.
 */
int snapshot_runs_read(SnapshotRuns *ret, int fd, const char *path, Error *err) must_check;
void snapshot_runs_clear(SnapshotRuns *runs); /* zeroed is fine */

/* The same on each machine. */
void snapshot_runs_digest(const SnapshotRuns *runs, char ret[static DISK_DIGEST_SIZE]);
