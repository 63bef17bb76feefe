/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A hearth-pager ($HEARTH_BIN) and a guest that it serves, with their files in
 * a directory of their own. What cannot be set up ends the program.
 */

#include "runtime/pager/state.h"
#include "tests/support/pager_guest.h"

typedef struct PagerBench {
	GuestPlan plan;
	char dir[64];
	char *memory, *state, *socket, *working_set;
	GuestProcess guest;
	pid_t pager; /* -1: none */
	int said;    /* what the pager says */
} PagerBench;

/* The directory and the memory file; @parent: where, such as "/tmp". */
PagerBench pager_bench_new(const GuestPlan *plan, const char *parent);
/* Kills what runs; guest and pager may then be started anew. */
void pager_bench_end(PagerBench *bench);
/* The same, and removes all. */
void pager_bench_free(PagerBench *bench);

/* Starts the guest, and a pager that listens for it. @options: NULL-terminated, may be NULL. */
void pager_bench_start(PagerBench *bench, GuestWork *work, const char *const *options);
/* The guest hands over; until the pager has said "installed". */
void pager_bench_hand_over(PagerBench *bench);

/* Another pager, in place of one that died. */
void pager_bench_take_over(PagerBench *bench, const char *const *options);
void pager_bench_kill_pager(PagerBench *bench);
/* Its wait status; -1: it does not end within @usec. */
int pager_bench_wait_pager(PagerBench *bench, int64_t usec);

/* Until the pager has said @word: 0; -1: it ended before. */
int pager_bench_await(PagerBench *bench, const char *word);

/* A copy of what the state file says now. */
PagerState *pager_bench_state(const PagerBench *bench);
