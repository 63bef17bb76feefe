/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Programs that the keeper runs as its children, and that never outlive it. For a process of one
 * thread: it forks. */

#include "runtime/keeper/groups.h"

#include <sys/types.h>

enum {
	CHILD_FDS_MAX = 5
};

typedef struct ChildPlan {
	int fd[CHILD_FDS_MAX]; /* by the numbers they will have, 0 at least; -1: none */
	const Groups *groups;  /* that it enters */
} ChildPlan;

/**
 * child_start() - run @argv, argv[0] being looked up on PATH, as a child that dies with this
 * process
 *
 * Of descriptors it has the plan's alone; signals have their default actions, none blocked.
 *
 * Return: its pid once it has been executed; -errno.
 */
pid_t child_start(char *const argv[], const ChildPlan *plan);

/* A pipe whose reading end, this process's, does not block: 0; -1 with errno. */
int child_pipe(int *reader, int *writer);
