/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The directory of GUEST_DIR or what stands for it: on tmpfs, so that nothing in it gets to a
 * disk, and nothing outlives the boot.
 */

#include "base/cleanup.h"

#include <limits.h>
#include <stddef.h>

/* Makes it, and mounts a tmpfs there if it is on none. Return: 0 or -errno. */
int guest_dir_make(const char *dir) must_check;

/* Makes @file in @dir, mode 0600, say these bytes: all of them, or it stays. Return: 0 or -errno.
 */
int guest_dir_write(const char *dir, const char *file, const void *bytes, size_t length) must_check;
