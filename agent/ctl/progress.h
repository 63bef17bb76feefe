/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A line on the terminal that says what a VM's operation is at, or why the VM is
 * not ready yet, while a call waits for it: rewritten as it goes on, gone in the
 * end. Nothing at all when stderr is no terminal.
 */

#include "agent/ctl/ctl.h"

typedef struct Progress {
	Ctl *ctl;
	const char *vm_id;
	const char *verb;
	int64_t began;
	int64_t asked; /* when the VM was last read */
	bool active;
	bool shown;
} Progress;

/* @progress is to live until progress_end(). @verb: "start". */
void progress_begin(Progress *progress, Ctl *ctl, const char *vm_id, const char *verb);
void progress_end(Progress *progress);
