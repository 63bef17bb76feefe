/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Which bytes a file has, told without reading them: its inode, and when that was last changed.
 *
 * Who finds the same identity again finds the same bytes, but for one thing: file systems stamp by
 * a clock that ticks, and what is written within the tick of the last stamp leaves it as it is. So
 * an identity is worth remembering only if that tick was over before the bytes were read: if it was
 * settled. Safe from any thread.
 */

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

/* Without padding: compared and hashed as bytes. */
typedef struct DiskIdentity {
	uint64_t device, inode, size;
	int64_t mtime, ctime; /* nsec since the epoch */
} DiskIdentity;

/* Of the file @fd is open for: 0 or -errno. */
int disk_identity_get(DiskIdentity *ret, int fd) must_check;

bool disk_identity_equal(const DiskIdentity *a, const DiskIdentity *b);

/* Will all that is written from now on change it? Not while its stamp lies in the future. */
bool disk_identity_is_settled(const DiskIdentity *identity);

/* Sleeps until it will, a few milliseconds mostly. False: the clock has been put back. */
bool disk_identity_settle(const DiskIdentity *identity) must_check;
