/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* FIFOs that a VMM writes to and its keeper reads. */

#include "base/cleanup.h"

#include <sys/types.h>

/**
 * fifo_open() - make the FIFO @path anew and open it for reading
 * @ret:	non-blocking, close-on-exec, the caller's to close; never at its end, as this
 *		process could write to it too
 * @owner:	of it, user and group, who alone may use it; (uid_t)-1: this process's
 *
 * Return: 0 or -errno.
 */
int fifo_open(int *ret, const char *path, uid_t owner) must_check;
