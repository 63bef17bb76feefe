/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A disk of a VM's own, made of another: by reflink where the file system can, else by copying what
 * is no hole. Never a hard link, so that nobody writes into the origin.
 *
 * The clone is made as a file without a name, which nobody else can open and which is gone with
 * whoever made it; it gets its name when it is whole. So an agent that dies, a full disk or a quota
 * leaves nothing behind. A copy is on the disk before it has a name. A reflink is not, and
 * need not be: its origin is, and a file system that can reflink brings changes of its own to the
 * disk in their order, so that after a crash of the host the clone is there whole, or not at all.
 * Who must know that it is there says so (durable), and waits some milliseconds for it.
 *
 * Blocks; safe from any thread.
 */

#include "runtime/images/disk_file.h"

#include <sys/types.h>

typedef enum DiskCloneWay {
	DISK_CLONE_REFLINK,
	DISK_CLONE_COPY,
} DiskCloneWay;

typedef struct DiskCloneOptions {
	uint64_t size;  /* what the clone is to have, zeros behind the origin's; 0: as the origin */
	uint64_t spare; /* bytes of the file system that are to stay free */
	mode_t mode;    /* whatever the umask is */
	bool durable;
	const DiskProgress *progress; /* of a copy; may be NULL */
} DiskCloneOptions;

/**
 * disk_clone() - make the disk @to
 * @ret:	how
 * @to:		does not exist; the directory does
 * @origin:	open for reading; its offset is moved
 *
 * ROOTFS: EXISTS; INPUT (a size below the origin's), EXHAUSTED (disk or quota full, or less than
 * @spare would be left), CORRUPT (the origin cannot be read), TIMEOUT (given up).
 */
int disk_clone(DiskCloneWay *ret, const char *to, int origin, const DiskCloneOptions *options,
	       Error *err) must_check;

/* Can files in @dir be reflinks of those in @origins? False also if they are not there. */
bool disk_can_reflink(const char *dir, const char *origins);

/* ROOTFS/EXHAUSTED if @bytes more on the file system of @fd would leave less than @spare; @path is
 * for messages. */
int disk_check_room(int fd, const char *path, uint64_t bytes, uint64_t spare, Error *err)
	must_check;

/**
 * disk_aside() - a new file without a name, on the file system of @path, where it is to go
 * @ret:	to read and write, close-on-exec; the caller's to close
 */
int disk_aside(int *ret, const char *path, mode_t mode, Error *err) must_check;

/* Names it; @path does not exist. */
int disk_publish(int fd, const char *path, Error *err) must_check;
