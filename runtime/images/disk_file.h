/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Files that are disks: opened without following a link, and the words for what can go wrong with
 * them. All of disk_*.h and templates*.h report ROOTFS by disk_error(). Safe from any thread.
 */

#include "base/error.h"

#include <stdint.h>
#include <sys/stat.h>

/**
 * disk_error() - fill *@err with ROOTFS and evaluate to -1
 * @errnum:	appended as error_set_errno() does, and the cause is taken from it: of those that
 *		error.h names, and ENOENT, ENOTDIR (MISSING), EEXIST (EXISTS), EIO, EUCLEAN,
 *		EBADMSG (CORRUPT), ELOOP, EFBIG (INPUT), ECANCELED (TIMEOUT: who asked waits no
 *longer)
 */
#define disk_error(err, errnum, ...)                                           \
	(error_fill((err), ERROR_ROOTFS, CAUSE_COUNT_, (errnum), __VA_ARGS__), \
	 disk_error_add_cause((err), (errnum)), -1)

void disk_error_add_cause(Error *err, int errnum);

/* Bytes that a file has of its disk. */
uint64_t disk_allocated(const struct stat *st);

/* What long work on disks calls from time to time; all zero: nothing. */
typedef struct DiskProgress {
	/* @done bytes of @total; false: the work is to be given up. */
	bool (*step)(void *user, uint64_t done, uint64_t total);
	void *user;
} DiskProgress;

/* 0, or -ECANCELED. @progress may be NULL. */
int disk_progress(const DiskProgress *progress, uint64_t done, uint64_t total) must_check;

/**
 * disk_open() - open the regular file @path to read it
 * @ret:	close-on-exec, the caller's to close
 * @dir:	what a relative @path begins at
 *
 * A link anywhere in @path is refused: it was resolved when it was checked.
 */
int disk_open(int *ret, int dir, const char *path, Error *err) must_check;

/* The same for a directory. */
int disk_open_dir(int *ret, const char *path, Error *err) must_check;

/* Reads @size bytes at @at, fewer only at the end of the file: how many, or -errno. */
ssize_t disk_read(int fd, void *bytes, size_t size, uint64_t at) must_check;
/* Writes all of them: 0 or -errno. */
int disk_write(int fd, const void *bytes, size_t size, uint64_t at) must_check;

/**
 * disk_next_data() - where the data at or behind @at lies
 * @ret:	where it begins, and ends; both @size if there is none
 * @size:	the file's
 *
 * What lies between is a hole. A file system that knows no holes has data only. Return: 0 or
 * -errno.
 */
int disk_next_data(uint64_t ret[static 2], int fd, uint64_t at, uint64_t size) must_check;
