/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Mappings of owners for ID-mapped mounts (mount_setattr(2)). For single-threaded programs: it
 * forks. */

#include "base/cleanup.h"

#include <sys/types.h>

/**
 * idmap_open() - the user namespace in which the owner @owner and group @group are @id
 * @ret:	close-on-exec, the caller's to close
 *
 * Return: 0 or -errno.
 */
int idmap_open(int *ret, uid_t owner, gid_t group, uid_t id) must_check;
