/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A log that never takes more than so many bytes of disk, nor more than so
 * many a second: DIR/NAME.log, and DIR/NAME.1 with what was before the last
 * rotation.
 *
 * What the rate does not admit or the disk does not take is dropped, and a
 * line in the log says how much once output goes on. Writing never fails and
 * never waits for anything but the disk.
 */

#include "base/cleanup.h"

#include <stdint.h>

typedef struct BoundedLog BoundedLog;

typedef struct BoundedLogConfig {
	const char *dir;
	const char *name;
	const char *what;   /* what it holds, as the marker names it: "console output" */
	uint64_t max_bytes; /* over both files */
	uint64_t rate;      /* bytes a second; 0: no limit */
} BoundedLogConfig;

/**
 * bounded_log_open() - append to what an earlier run left, after a line that divides them
 * @ret:	to be released by bounded_log_close()
 *
 * Return: 0 or -errno.
 */
int bounded_log_open(BoundedLog **ret, const BoundedLogConfig *config) must_check;
void bounded_log_write(BoundedLog *log, const char *bytes, size_t length);
/* Writes the last words of what was dropped last, if it was, whatever the rate. */
void bounded_log_close(BoundedLog *log);
DEFINE_CLEANUP(BoundedLog *, bounded_log_close);
