/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The ids of programs that a VM's guest was asked to run, so that none runs twice: the last
 * EXEC_IDS_KEPT of them, in a file of the VM's run directory, which lasts as long as the VM does.
 * Blocks; safe from any thread.
 */

#include "base/error.h"

enum {
	EXEC_ID_MAX = 64, /* bytes of one */
	EXEC_IDS_KEPT = 16384,
};

/* Spends @id, durably. GUEST_METADATA: it was spent before (EXISTS), or what the disk said. */
int exec_ids_spend(const char *run_dir, const char *id, Error *err) must_check;
