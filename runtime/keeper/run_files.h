/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the keeper tells agents, this one and later ones: keeper.json and
 * exit.json in the run directory. Read by runtime/keeper_link.c; members are
 * only ever added, the version is raised when one changes its meaning.
 */

#include "base/process.h"

typedef struct VmmEnd {
	int code; /* -1 if a signal ended it */
	int signal;
	int64_t time;         /* wall usec */
	const char *evidence; /* letters and dashes */
	const char *message;  /* for people; what JSON would have to quote is left out */
} VmmEnd;

/* Seen whole or not at all; 0 or -errno. @pager: -1: the VMM has none. */
int run_files_write_keeper(const char *dir, pid_t vmm, pid_t pager) must_check;
/* So that after a crash of the host it tells which boot the VM ran in. Not before the VMM is known
 * to run: it takes as long as the disk does. */
void run_files_sync_keeper(const char *dir);

/**
 * run_files_reserve_exit() - take the disk space of exit.json, under another name
 * @ret:	to be handed to run_files_write_exit(); the caller's to close
 *
 * So that a disk full by then does not hide how the VM ended. 0 or -errno.
 */
int run_files_reserve_exit(int *ret, const char *dir) must_check;
int run_files_write_exit(const char *dir, int reserved, const VmmEnd *end) must_check;
