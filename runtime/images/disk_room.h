/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How much of a file system those who keep disks on it may use together: at most a limit, and so
 * that some of it stays free for others.
 *
 * Who is going to write takes room first, so that two who fit one by one are not both begun; what
 * is written meanwhile counts twice, which refuses early rather than late. Safe from any thread.
 */

#include "base/error.h"

typedef struct DiskRoom DiskRoom;

/* @dir is on it; @limit in bytes, 0: none; @spare: bytes that are to stay free. */
DiskRoom *disk_room_new(const char *dir, uint64_t limit, uint64_t spare);
void disk_room_free(DiskRoom *room); /* accepts NULL */
DEFINE_CLEANUP(DiskRoom *, disk_room_free);

/* @bytes are about to be written for @what. ROOTFS/EXHAUSTED, with what is lacking. */
int disk_room_take(DiskRoom *room, uint64_t bytes, const char *what, Error *err) must_check;
/* Of @taken bytes @used came to be on the disk. */
void disk_room_settle(DiskRoom *room, uint64_t taken, uint64_t used);

/* What is on the disk anyway, and what has gone from it. */
void disk_room_add(DiskRoom *room, uint64_t bytes);
void disk_room_give(DiskRoom *room, uint64_t bytes);

/* The bytes on the disk; @limit and @spare may be NULL. */
uint64_t disk_room_read(DiskRoom *room, uint64_t *limit, uint64_t *spare);
