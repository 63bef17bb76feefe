/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Small files, whole: read with a bound, written so that a crash leaves the
 * old content or the new. All return -errno on failure.
 */

#include "base/cleanup.h"

#include <stddef.h>

/**
 * file_read() - the whole of @path
 * @ret:	NUL-terminated, the caller's to free
 * @length:	its bytes without the NUL; may be NULL
 * @max:	larger files are -EFBIG
 */
int file_read(char **ret, size_t *length, const char *path, size_t max) must_check;

/**
 * file_write_atomic() - replace @path by @text
 *
 * Written aside (mode 0600), synced, renamed, and the directory synced.
 */
int file_write_atomic(const char *path, const char *text, size_t length) must_check;
/* Removes what a death in its midst has left, if that is there. */
void file_clear_aside(const char *path);

/**
 * file_replace() - the same, but not synced
 *
 * Readers see the old content or the new; after a crash of the host there may be neither.
 */
int file_replace(const char *path, const char *text, size_t length) must_check;

/* Syncs @path and its directory. */
int file_sync(const char *path) must_check;

/**
 * file_in_memory() - @size bytes as a file that is on no disk
 * @ret:	close-on-exec, the caller's to close; other processes can open it as
 *		/proc/<our pid>/fd/<@ret> while it is open
 */
int file_in_memory(int *ret, const void *bytes, size_t size) must_check;

/* Makes directory @path (mode 0700) and its parents (0755) where missing. */
int file_make_dirs(const char *path) must_check;

/**
 * file_remove_tree() - remove @path and all below it
 *
 * Never follows a symbolic link and never leaves the file system @path is on.
 * Absent is success.
 */
int file_remove_tree(const char *path) must_check;
