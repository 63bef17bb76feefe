/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Control groups, as their directories: which processes enter, and what the kernel says it did. */

#include <stdbool.h>
#include <stddef.h>

enum {
	GROUPS_MAX = 24
};

typedef struct Groups {
	const char *dirs[GROUPS_MAX];
	size_t count;
} Groups;

/* 0; -1: too many. */
int groups_add(Groups *groups, const char *dir);

/* This process enters all of them, and the namespace that process 1 has them in: NULL; else the
 * directory it could not enter, and errno. Makes no memory: for the child between fork and exec,
 * too. */
const char *groups_enter(const Groups *groups);

/* Does @file, as runtime/cgroup.h has it, tell of a process that ended for lack of memory? */
bool groups_ran_out(const char *file);
