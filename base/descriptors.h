/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The process' file descriptors, the last of which are kept for what must
 * work when all others are in use: stops, destroys, the ends of VMMs.
 *
 * The kernel gives out the lowest number that is free. So the numbers above a
 * bound are free for as long as whoever can do without gives one of them back.
 * They are a quarter of RLIMIT_NOFILE, DESCRIPTORS_KEPT_MAX at most. Any thread
 * may call these.
 */

#include <stdbool.h>
#include <stddef.h>

enum {
	DESCRIPTORS_KEPT_MAX = 1024
};

/* Is @fd, which was just opened, one of those that are kept? */
bool descriptors_are_kept(int fd);

/* How many more there may be, at most, without those that are kept. */
size_t descriptors_left(void);

/* How many are open, or as many as may be if that cannot be told; and how many may be. */
void descriptors_count(size_t *open, size_t *limit);
