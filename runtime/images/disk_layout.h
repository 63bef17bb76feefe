/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where the bytes of a disk lie that are not zero, in few runs: each run becomes an extent of the
 * copy, and each extent costs every reflink of it some 20 us. So only the largest gaps stay holes;
 * the zeros of the others are written. Safe from any thread.
 */

#include "runtime/images/disk_file.h"

#include <stddef.h>

enum {
	DISK_RUNS_MAX = 16,
	DISK_GAP_MIN = 64 << 10, /* bytes; gaps begin and end at multiples of it */
};

typedef struct DiskRun {
	uint64_t at, end;
} DiskRun;

typedef struct DiskLayout {
	uint64_t size; /* of the disk */
	uint64_t data; /* of all runs */
	size_t count;
	DiskRun runs[DISK_RUNS_MAX];
} DiskLayout;

/**
 * disk_layout_scan() - read all of @fd and look for zeros
 * @path:	for messages
 *
 * ROOTFS as disk_hash(). Moves @fd's offset.
 */
int disk_layout_scan(DiskLayout *ret, int fd, const char *path, const DiskProgress *progress,
		     Error *err) must_check;

/* How many extents @fd has on the disk; 0 if the file system does not tell. */
uint32_t disk_layout_extents(int fd);
