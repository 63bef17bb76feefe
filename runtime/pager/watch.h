/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What goes on beside the faults: the wait for the VMM's end, which its
 * userfaultfd does not tell of, and the saving of the working set, once its
 * time is over or the VMM has ended.
 */

#include "runtime/pager/state.h"

typedef struct WatchConfig {
	int vmm; /* pidfd */
	State *state;
	const char *record; /* where the working set is saved; NULL: nowhere */
	int64_t record_for; /* usec from now */
} WatchConfig;

/* Returns when the VMM has ended. A set that cannot be saved is lost, and said on standard error.
 */
void watch_until_end(const WatchConfig *config);
